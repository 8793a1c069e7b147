"""Parameters in two groups, so that the head of a network has a learning rate of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer

from camtrain.networks.last_linear import last_linear

HEAD = "head"


def with_head_group(parameters: Sequence[nn.Parameter], network: nn.Module, rate: float) -> list[dict[str, Any]]:
    """Put the parameters of the head, the last linear layer, into a group of their own; a group is never empty.

    Args:
        parameters: Those that are trained.
        network: The network whose head it is.
        rate: The learning rate of the head.

    Raises:
        ValueError: If the network has no linear layer, or its head is not trained.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4, 2))
        >>> groups = with_head_group(list(network.parameters()), network, 0.01)
        >>> [(group["name"], len(group["params"]), group.get("lr")) for group in groups]
        [('backbone', 2, None), ('head', 2, 0.01)]
    """
    name = last_linear(network)
    if name is None:
        raise ValueError(
            f"`head_learning_rate`: expected None for a network without a linear layer, got {rate} and a "
            f"{type(network).__name__}"
        )
    of_head = set(network.get_submodule(name).parameters())
    head = [parameter for parameter in parameters if parameter in of_head]
    if not head:
        raise ValueError(f"`head_learning_rate`: expected None where the head, {name}, is not trained, got {rate}")
    others = [parameter for parameter in parameters if parameter not in of_head]
    groups: list[dict[str, Any]] = [{"params": others, "name": "backbone"}] if others else []
    return [*groups, {"params": head, "lr": rate, "name": HEAD}]


def check_head_rate(optimizer: Optimizer, rate: float, schedule: Any) -> None:
    """Check that a schedule that was just made left the head a learning rate of its own.

    Args:
        optimizer: That of the schedule, with the groups of `with_head_group`.
        rate: The learning rate of the head before.
        schedule: What may have set it.

    Raises:
        ValueError: If both groups have the same learning rate, and the head had another one.

    Example:
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Linear(3, 2))
        >>> import torch
        >>> optimizer = torch.optim.SGD(with_head_group(list(network.parameters()), network, 0.1), lr=0.01)
        >>> schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=10)
        >>> check_head_rate(optimizer, 0.1, schedule)
        Traceback (most recent call last):
        ValueError: `head_learning_rate`: OneCycleLR gives the head the learning rate of the backbone; pass it a list \
of two, the backbone's and the head's
    """
    rates = {group.get("name"): float(group["lr"]) for group in optimizer.param_groups}
    if len(rates) > 1 and len(set(rates.values())) == 1 and rates[HEAD] != rate:
        raise ValueError(
            f"`head_learning_rate`: {type(schedule).__name__} gives the head the learning rate of the backbone; pass "
            "it a list of two, the backbone's and the head's"
        )
