"""Parameters that take an integer or a fraction: `1` is the integer."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import reduce
from typing import Any, get_args


def int_before_float(function: Callable[..., Any]) -> None:
    """Let the parser try `int` before `float` for each parameter of a function that takes both.

    Lightning's trainer means one batch by `limit_train_batches=1`, and all batches by 1.0. It says
    `Optional[Union[int, float]]`, but Python's typing remembers what it made for an equal union that another library
    wrote the other way around, and gives that: whether 1 becomes 1.0 depends on what was imported before.

    Args:
        function: Its annotations are changed in place.

    Example:
        >>> def train(batches): ...
        >>> train.__annotations__ = {"batches": float | int | None}
        >>> int_before_float(train)
        >>> train.__annotations__["batches"]
        int | float | None
    """
    for name, annotation in function.__annotations__.items():
        members: list[Any] = [*get_args(annotation)]
        if {int, float} <= {*members} and members.index(float) < members.index(int):
            members.remove(int)
            members.insert(members.index(float), int)
            function.__annotations__[name] = reduce(operator.or_, members)
