"""Gradients that do not vanish in half precision."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_FIRST_HALF_PRECISION_SCALE = 2.0**12


def scaled_gradients(
    loss: Tensor, inputs: Sequence[Tensor], images: Tensor, *, create_graph: bool = False
) -> list[Tensor | None]:
    """Gradients of a loss, taken at a scale at which float16 can hold them; the graph of `loss` is kept.

    In half precision (float16, autocast or not) small gradients vanish between the layers: the loss is scaled up before
    the pass and the gradients down after it, by less where that overflows. In every other precision nothing is scaled.

    Args:
        loss: 0-dim.
        inputs: what to differentiate by.
        images: those that the loss was computed from; their device and precision say whether to scale.
        create_graph: keep the gradients in the graph.

    Returns:
        One gradient for each input, at least float32; `None` where the loss does not depend on it.

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
    """Whether a network computes in float16 on these images, under autocast or because they are float16."""
    device = images.device.type
    autocast = torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.float16
    return autocast or images.dtype == torch.float16
