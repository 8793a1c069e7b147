"""Parameters in two groups, so that the head of a network has a learning rate of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer

from camtrain.networks.last_linear import last_linear

BACKBONE, HEAD = "backbone", "head"


def with_head_group(parameters: Sequence[nn.Parameter], network: nn.Module, rate: float) -> list[dict[str, Any]]:
    """Put the parameters of the head, the last linear layer, into a group of their own.

    Args:
        parameters: Those that are trained.
        network: The network whose head it is.
        rate: The learning rate of the head.

    Returns:
        Two groups, that of the backbone first. It is empty if nothing but the head is trained.

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
    return [{"params": others, "name": BACKBONE}, {"params": head, "lr": rate, "name": HEAD}]


def learning_rates(optimizer: Optimizer) -> dict[str, float]:
    """The learning rate of each group, by its name or its number.

    Example:
        >>> import torch
        >>> learning_rates(torch.optim.SGD([torch.zeros(1)], lr=0.5))
        {'0': 0.5}
    """
    return {str(group.get("name", index)): float(group["lr"]) for index, group in enumerate(optimizer.param_groups)}


def check_head_rate(before: dict[str, float], optimizer: Optimizer, schedule: Any) -> None:
    """Check that a schedule that was just made left the head a learning rate of its own.

    Args:
        before: The learning rates of the optimizer before.
        optimizer: The optimizer of the schedule.
        schedule: The schedule, which may have set them.

    Raises:
        ValueError: If backbone and head had different learning rates, and have the same one now, other than 0.

    Example:
        >>> import torch
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Linear(3, 2))
        >>> optimizer = torch.optim.SGD(with_head_group(list(network.parameters()), network, 0.1), lr=0.01)
        >>> before = learning_rates(optimizer)
        >>> schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=10)
        >>> check_head_rate(before, optimizer, schedule)
        Traceback (most recent call last):
        ValueError: `head_learning_rate`: OneCycleLR gives the head the learning rate of the backbone; pass it a list \
of two, the backbone's and the head's
    """
    after = learning_rates(optimizer)
    differed = before.get(BACKBONE) != before.get(HEAD)
    if differed and after.get(HEAD) and after.get(BACKBONE) == after.get(HEAD):
        raise ValueError(
            f"`head_learning_rate`: {type(schedule).__name__} gives the head the learning rate of the backbone; pass "
            "it a list of two, the backbone's and the head's"
        )
