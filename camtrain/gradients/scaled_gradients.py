"""Gradients that do not vanish in half precision."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_FIRST_HALF_PRECISION_SCALE = 2.0**12


def scaled_gradients(
    loss: Tensor, inputs: Sequence[Tensor], images: Tensor, *, create_graph: bool = False
) -> list[Tensor | None]:
    """Gradients of a loss, computed at a scale that float16 can represent. The graph of `loss` is kept.

    In float16, with or without autocast, small gradients vanish between the layers. There the loss is scaled up before
    the pass and the gradients are scaled down after it, with a smaller scale if they overflow. In every other precision
    nothing is scaled.

    Args:
        loss: 0-dim.
        inputs: The tensors to differentiate by.
        images: The images that the loss was computed from. Their device and precision decide whether to scale.
        create_graph: Whether to keep the gradients in the graph.

    Returns:
        One gradient for each input, at least float32; `None` if the loss does not depend on the input.

    Example:
        >>> weight = torch.ones(1, requires_grad=True)
        >>> scaled_gradients((weight * 3).sum(), [weight], torch.ones(1))
        [tensor([3.])]
    """
    scale = _FIRST_HALF_PRECISION_SCALE if in_float16(images) else 1.0
    while True:
        found = torch.autograd.grad(
            loss, inputs, loss.new_tensor(scale), retain_graph=True, create_graph=create_graph, allow_unused=True
        )
        if scale <= 1.0 or all(bool(torch.isfinite(g.detach()).all()) for g in found if g is not None):
            return [None if gradient is None else _unscaled(gradient, scale) for gradient in found]
        scale /= 16.0


def _unscaled(gradient: Tensor, scale: float) -> Tensor:
    if gradient.dtype in (torch.float16, torch.bfloat16):
        gradient = gradient.float()
    return gradient if scale == 1.0 else gradient / scale


def in_float16(images: Tensor) -> bool:
    """Whether a network computes in float16 on these images, because of autocast or of their dtype."""
    device = images.device.type
    autocast = torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.float16
    return autocast or images.dtype == torch.float16
