"""Fractions and differences of them as people read them."""

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


def signed_points(fraction: float, digits: int = 2) -> str:
    """A difference of fractions in percentage points, with its sign; what rounds to zero is not negative.

    Args:
        fraction: The difference.
        digits: The number of digits after the point.

    Example:
        >>> signed_points(0.05), signed_points(-0.031, 1), signed_points(-0.00001)
        ('+5.00', '−3.1', '+0.00')
    """
    return f"{100 * fraction:+z.{digits}f}".replace("-", "−")
