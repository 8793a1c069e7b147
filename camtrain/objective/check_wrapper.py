"""Wrappers of a network that a regularized step cannot go through."""

from __future__ import annotations

from typing import Any

from torch import nn


def check_wrapper(network: nn.Module) -> None:
    """Check that gradients can be taken inside the training pass of a network.

    Args:
        network: The network, as a training loop calls it.

    Raises:
        ValueError: If it is an `nn.DataParallel` of several devices, or Lightning Fabric has set it up in mixed
            precision.

    Example:
        >>> check_wrapper(nn.Linear(2, 2))
    """
    if isinstance(network, nn.DataParallel) and len(network.device_ids) > 1:
        raise ValueError(
            f"`network`: expected one on one device, or DistributedDataParallel, got DataParallel of "
            f"{len(network.device_ids)} devices, whose copies share their hooks"
        )
    if type(network).__name__ == "_FabricModule" and "mixed" in _precision_of(network):
        raise ValueError(
            "`network`: in mixed precision Fabric allows no gradient but that of fabric.backward, and a regularizer "
            "takes its own; write `with fabric.autocast(): step = objective(network._forward_module, images, labels)`, "
            "then fabric.backward(step.loss)"
        )


def _precision_of(network: Any) -> str:
    """Such as `bf16-mixed`."""
    return str(getattr(network._strategy.precision, "precision", ""))
