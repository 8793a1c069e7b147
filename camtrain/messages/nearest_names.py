"""The names that a mistyped one may have meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest_names(name: str, names: Iterable[str], count: int = 5) -> str:
    """A clause for an error message: the names most like `name`, or the first few where none is.

    Example:
        >>> nearest_names("resnet81", ["resnet18", "vgg11"])
        "did you mean 'resnet18'?"
        >>> nearest_names("xyz", ["resnet18", "vgg11"])
        "there are 'resnet18', 'vgg11'"
    """
    known = list(names)
    near = get_close_matches(name, known, n=count, cutoff=0.5)
    if near:
        return f"did you mean {', '.join(map(repr, near))}?"
    rest = f" and {len(known) - count} more" if len(known) > count else ""
    return f"there are {', '.join(map(repr, known[:count]))}{rest}"
