"""The floor of a gradient's norm, which several regularizers share."""

from __future__ import annotations

import math
from typing import Any


def check_floor(floor: Any) -> None:
    """Check the argument of that name.

    Raises:
        ValueError: If it is not a positive, finite number. With 0 the regularizer would divide by norms that have
            lost all their digits, and with infinity it would penalize nothing.

    Example:
        >>> check_floor("running")
        Traceback (most recent call last):
        ValueError: `floor`: expected a positive, finite number, got 'running'
    """
    if isinstance(floor, (str, bool)) or not 0 < floor < math.inf:
        raise ValueError(f"`floor`: expected a positive, finite number, got {floor!r}")
