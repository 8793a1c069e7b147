"""The gradient of a loss with respect to the images."""

from __future__ import annotations

import torch
from torch import Tensor

_FIRST_HALF_PRECISION_SCALE = 2.0**12


def input_gradient(loss: Tensor, images: Tensor, *, create_graph: bool = False) -> Tensor:
    """Gradient ∂loss/∂x of a loss with respect to the images, through the graph that exists.

    In half precision (float16, autocast or not) small gradients vanish between the layers: the loss is scaled up before
    the pass and the gradient down after it, by less where that overflows. In every other precision nothing is scaled.

    Args:
        loss: 0-dim, computed from `images`.
        images: (N, 3, H, W), requires grad.
        create_graph: keep the gradient in the graph, so that a penalty on it can be trained.

    Returns:
        (N, 3, H, W), of the images' precision but at least float32. The graph of `loss` is kept in either case.

    Raises:
        ValueError: if `loss` was not computed from `images`, or `images` do not require grad.

    Example:
        >>> images = torch.ones(1, 3, 2, 2, requires_grad=True)
        >>> input_gradient((images**2).sum(), images).unique()
        tensor([2.])
    """
    check_graph(loss, images)
    scale = _FIRST_HALF_PRECISION_SCALE if _in_half_precision(images) else 1.0
    while True:
        gradient = _scaled_gradient(loss, images, scale, create_graph)
        if scale <= 1.0 or bool(torch.isfinite(gradient.detach()).all()):
            return gradient
        scale /= 16.0


def check_graph(loss: Tensor, images: Tensor) -> None:
    """Say what is missing where the gradient of `loss` with respect to `images` cannot be taken.

    Raises:
        ValueError: if `loss` is not 0-dim or has no graph, or if `images` do not require grad.
    """
    if loss.dim() != 0:
        raise ValueError(f"`loss`: expected one number (0-dim), got shape {tuple(loss.shape)}")
    if not images.requires_grad:
        raise ValueError("`images`: expected images that require grad; call images.requires_grad_() before the forward")
    if loss.grad_fn is None:
        raise ValueError(
            "`loss`: expected a loss with a graph; compute it from the images with gradients enabled "
            "(see camtrain.gradients.gradients_enabled)"
        )


def _scaled_gradient(loss: Tensor, images: Tensor, scale: float, create_graph: bool) -> Tensor:
    (gradient,) = torch.autograd.grad(
        loss, images, loss.new_tensor(scale), retain_graph=True, create_graph=create_graph, allow_unused=True
    )
    if gradient is None:
        raise ValueError("`loss` was not computed from `images`: pass the very tensor that went through the network")
    if gradient.dtype in (torch.float16, torch.bfloat16):
        gradient = gradient.float()
    return gradient if scale == 1.0 else gradient / scale


def _in_half_precision(images: Tensor) -> bool:
    device = images.device.type
    autocast = torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.float16
    return autocast or images.dtype == torch.float16
