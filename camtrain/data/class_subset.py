"""The classes of a data set that are used, and their order."""

from __future__ import annotations

from collections.abc import Sequence

from camtrain.messages import nearest_names


def class_subset(available: Sequence[str], wanted: Sequence[str] | None) -> list[str]:
    """The names of the classes to use, in the order of their indices.

    Args:
        available: All classes of the data set.
        wanted: The classes to use, in the order of their indices; `None` uses all.

    Raises:
        ValueError: If `wanted` is empty, names a class twice, or names an unknown class (with the nearest names).

    Example:
        >>> class_subset(["apple", "bear", "cup"], ["cup", "apple"])
        ['cup', 'apple']
        >>> class_subset(["apple", "bear", "cup"], ["aple"])
        Traceback (most recent call last):
        ValueError: `classes`: this data set has no class 'aple'; did you mean 'apple'?
    """
    if wanted is None:
        return list(available)
    if not wanted:
        raise ValueError("`classes`: expected at least one class name, or `None` for all, got an empty list")
    for name in wanted:
        if name not in available:
            raise ValueError(f"`classes`: this data set has no class {name!r}; {nearest_names(name, available)}")
    if len(set(wanted)) < len(wanted):
        twice = sorted({name for name in wanted if wanted.count(name) > 1})
        raise ValueError(f"`classes`: expected each class once, got {', '.join(map(repr, twice))} more than once")
    return list(wanted)
