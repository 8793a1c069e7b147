"""The floor of a gradient's norm, which several regularizers share."""

from __future__ import annotations

from typing import Any


def check_floor(floor: Any) -> None:
    """Check the argument of that name.

    Raises:
        ValueError: If it is not a number of at least 0.

    Example:
        >>> check_floor("running")
        Traceback (most recent call last):
        ValueError: `floor`: expected a number of at least 0, got 'running'
    """
    if isinstance(floor, str) or not floor >= 0:
        raise ValueError(f"`floor`: expected a number of at least 0, got {floor!r}")
