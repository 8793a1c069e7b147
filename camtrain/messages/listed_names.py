"""Names given as one text with commas or as a sequence."""

from __future__ import annotations

from collections.abc import Iterable


def listed_names(argument: str, names: object) -> list[str]:
    """The names, one by one and without spaces around them.

    Args:
        argument: The name of the argument, for the message.
        names: One text with commas, or several texts.

    Raises:
        TypeError: If it is neither.

    Example:
        >>> listed_names("methods", "grad_cam, layer_cam"), listed_names("methods", ("grad_cam",))
        (['grad_cam', 'layer_cam'], ['grad_cam'])
        >>> listed_names("methods", 3.5)
        Traceback (most recent call last):
        TypeError: `methods`: expected names, as a sequence or separated by commas, got 3.5
    """
    expected = f"`{argument}`: expected names, as a sequence or separated by commas"
    words = names.split(",") if isinstance(names, str) else names
    if not isinstance(words, Iterable):
        raise TypeError(f"{expected}, got {names!r}")
    found = []
    for word in words:
        if not isinstance(word, str):
            raise TypeError(f"{expected}, got {word!r} among them")
        found.append(word.strip())
    return found
