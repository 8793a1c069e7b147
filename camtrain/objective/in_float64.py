"""Scalars whose gradient at the input is penalized are computed in float64."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def in_float64(scalar: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The same function of logits, computed in float64 and returned in the logits' precision, or at least in float32.

    The gradient of the cross-entropy at the label's logit is p − 1. At p = 1 − 10⁻⁶ float32 leaves one digit of it.
    Plain training does not suffer, but a regularizer that compares directions sees noise.

    Args:
        scalar: From logits (N, K) to a scalar, 0-dim, such as L_C.

    Example:
        >>> logits, labels = torch.tensor([[20.0, 0.0]]), torch.tensor([0])
        >>> def loss(logits):
        ...     return torch.nn.functional.cross_entropy(logits, labels)
        >>> loss(logits), in_float64(loss)(logits)
        (tensor(0.), tensor(2.0612e-09))
    """

    def computed_in_float64(logits: Tensor) -> Tensor:
        # Apple's accelerator has no float64.
        double = torch.float32 if logits.device.type == "mps" else torch.float64
        return scalar(logits.to(double)).to(torch.promote_types(logits.dtype, torch.float32))

    return computed_in_float64
