"""The names that a mistyped one may have meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_SHORTEST_PART = 3  # letters of a part of a name that say which is meant


def nearest_names(name: object, names: Iterable[str], count: int = 5) -> str:
    """A clause for an error message: the names most like `name`, or that contain it, or the first few.

    Example:
        >>> nearest_names("resnet81", ["resnet18", "vgg11"])
        "did you mean 'resnet18'?"
        >>> nearest_names("iou", ["average_drop", "localization_iou_25"])
        "did you mean 'localization_iou_25'?"
        >>> nearest_names("xyz", ["resnet18", "vgg11"])
        "there are 'resnet18', 'vgg11'"
    """
    known = list(names)
    near = get_close_matches(name, known, n=count, cutoff=0.5) if isinstance(name, str) else []
    if not near and isinstance(name, str) and len(name) >= _SHORTEST_PART:
        near = [each for each in known if name.lower() in each.lower()][:count]
    if near:
        return f"did you mean {', '.join(map(repr, near))}?"
    rest = f" and {len(known) - count} more" if len(known) > count else ""
    return f"there are {', '.join(map(repr, known[:count]))}{rest}"


def nearest_options(option: str, options: Iterable[str], count: int = 3) -> str:
    """A clause for an error message: the options most like one, its last part alone included; empty where none is.

    Example:
        >>> nearest_options("--regularizer_weight", ["--model.regularizer_weight", "--model.regularizer"])
        "; did you mean '--model.regularizer_weight'?"
        >>> nearest_options("--trainer.max_epoch", ["--trainer.max_epochs", "--trainer.devices"])
        "; did you mean '--trainer.max_epochs'?"
        >>> nearest_options("--xyz", ["--model"])
        ''
    """
    known = [each for each in dict.fromkeys(options) if not each.endswith(".help")]
    last = option.lstrip("-").rpartition(".")[2]
    near = [each for each in known if each.lstrip("-").rpartition(".")[2] == last][:count]
    near = near or get_close_matches(option, known, n=count, cutoff=0.8)
    if not near:  # forgotten sections, such as `max_epoch` without `trainer.`
        ends = {each.lstrip("-").rpartition(".")[2]: each for each in reversed(known)}
        near = [ends[end] for end in get_close_matches(last, ends, n=count, cutoff=0.75)]
    return f"; did you mean {', '.join(map(repr, near))}?" if near else ""
