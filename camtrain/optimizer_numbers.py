"""Numbers of optimizers and schedules that torch would take, though no training survives them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import Any

from torch.optim import Optimizer

# Numbers of steps or epochs. Of some schedules, 0 is a division by zero once the first epoch is over.
_PERIODS = ("step_size", "T_max", "T_0", "T_mult", "total_iters", "total_steps")
# Where a plateau starts to look for something better.
_MAY_BE_INFINITE = ("best", "mode_worse")


def check_optimizer(optimizer: Optimizer) -> None:
    """Check that all numbers of an optimizer are finite, and none of them is negative that must not be.

    Args:
        optimizer: Any optimizer.

    Raises:
        ValueError: If a number is not finite.

    Example:
        >>> import torch
        >>> check_optimizer(torch.optim.SGD([torch.zeros(1)], lr=float("inf")))
        Traceback (most recent call last):
        ValueError: `optimizer`: expected finite numbers, got SGD with lr = inf
    """
    for group in optimizer.param_groups:
        for name, value in group.items():
            if name != "params" and not all(map(math.isfinite, _numbers(value))):
                raise ValueError(
                    f"`optimizer`: expected finite numbers, got {type(optimizer).__name__} with {name} = {value}"
                )
        if any(value < 0 for value in _numbers(group.get("lr"))):
            raise ValueError(f"`optimizer`: expected a learning rate of at least 0, got lr = {group['lr']}")


def check_schedule(schedule: Any, optimizer: Optimizer) -> None:
    """Check the numbers of a schedule, and that it takes its first step.

    Args:
        schedule: A schedule that is not needed any more: this function advances it.
        optimizer: Its optimizer, which is not needed any more either.

    Raises:
        ValueError: If a number is not finite, a period is not positive, or the first step fails.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
        >>> check_schedule(torch.optim.lr_scheduler.StepLR(optimizer, step_size=0), optimizer)
        Traceback (most recent call last):
        ValueError: `lr_scheduler`: expected a positive number, got StepLR with step_size = 0
    """
    for each in _parts(schedule):
        kind = type(each).__name__
        for name, value in vars(each).items():
            if name in _PERIODS and any(number < 1 for number in _numbers(value)):
                raise ValueError(f"`lr_scheduler`: expected a positive number, got {kind} with {name} = {value}")
            if name not in _MAY_BE_INFINITE and not all(map(math.isfinite, _numbers(value))):
                raise ValueError(f"`lr_scheduler`: expected finite numbers, got {kind} with {name} = {value}")
    if not hasattr(schedule, "best"):  # a plateau's step takes the value of what it watches
        _take_a_step(schedule)
        rates = [group["lr"] for group in optimizer.param_groups]
        if any(not rate >= 0 or math.isinf(rate) for rate in rates):
            raise ValueError(
                f"`lr_scheduler`: expected learning rates of at least 0, got {type(schedule).__name__} with "
                f"{float(rates[0]):g} after its first step"
            )


def _take_a_step(schedule: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the optimizer has not taken one
        try:
            schedule.step()
        except (ArithmeticError, ValueError) as error:
            raise ValueError(f"`lr_scheduler`: {type(schedule).__name__} fails in its first step: {error}") from error


def _parts(schedule: Any) -> Iterator[Any]:
    """A schedule, and those that it is made of."""
    yield schedule
    for each in getattr(schedule, "_schedulers", ()):
        yield from _parts(each)


def _numbers(value: Any) -> list[float]:
    """The numbers of a setting, which may be one, a tensor of one element, or several."""
    if isinstance(value, (list, tuple)):
        return [number for each in value for number in _numbers(each)]
    if hasattr(value, "numel") and value.numel() == 1:
        value = value.item()
    return [value] if isinstance(value, (int, float)) else []
