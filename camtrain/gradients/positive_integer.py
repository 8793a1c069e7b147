"""A check that settings of many methods share."""

from __future__ import annotations


def positive_integer(name: str, value: int) -> int:
    """The value of the argument of that name.

    Raises:
        ValueError: if it is not one; a bool is none.

    Example:
        >>> positive_integer("max_batch", 0)
        Traceback (most recent call last):
        ValueError: `max_batch`: expected a positive integer, got 0
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"`{name}`: expected a positive integer, got {value!r}")
    return value
