"""A fraction as people read it."""

from __future__ import annotations


def percent(fraction: float, digits: int = 1) -> str:
    """A fraction in percent, with a space before the sign as in all tables.

    Args:
        fraction: The fraction.
        digits: The number of digits after the point.

    Example:
        >>> percent(0.8348), percent(0.8348, 0)
        ('83.5 %', '83 %')
    """
    return f"{100 * fraction:.{digits}f} %"
