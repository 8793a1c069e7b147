"""A check that the settings of many classes share."""

from __future__ import annotations


def positive_integer(name: str, value: int) -> int:
    """The value itself, if it is a positive integer.

    Raises:
        ValueError: If it is anything else, a bool included.

    Example:
        >>> positive_integer("max_batch", 0)
        Traceback (most recent call last):
        ValueError: `max_batch`: expected a positive integer, got 0
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"`{name}`: expected a positive integer, got {value!r}")
    return value
