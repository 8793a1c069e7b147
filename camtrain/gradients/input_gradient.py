"""The gradient of a loss with respect to the images."""

from __future__ import annotations

from torch import Tensor

from camtrain.gradients.scaled_gradients import scaled_gradients


def input_gradient(loss: Tensor, images: Tensor, *, create_graph: bool = False) -> Tensor:
    """The gradient ∂loss/∂x of a loss with respect to the images, through the existing graph.

    In float16 the gradient is computed at a scale at which it does not vanish (see `scaled_gradients`).

    Args:
        loss: 0-dim, computed from `images`. Its graph is kept.
        images: (N, C, H, W), requires grad.
        create_graph: Whether to keep the gradient in the graph, so that a penalty on it can be trained.

    Returns:
        (N, C, H, W), in the precision of the images but at least float32.

    Raises:
        TypeError: If `loss` or `images` is no tensor.
        ValueError: If `loss` was not computed from `images`, or `images` do not require grad.

    Example:
        >>> import torch
        >>> images = torch.ones(1, 3, 2, 2, requires_grad=True)
        >>> input_gradient((images**2).sum(), images).unique()
        tensor([2.])
    """
    check_graph(loss, images)
    (gradient,) = scaled_gradients(loss, [images], images, create_graph=create_graph)
    if gradient is None:
        raise ValueError("`loss` was not computed from `images`: pass the very tensor that went through the network")
    return gradient


def check_graph(loss: Tensor, images: Tensor) -> None:
    """Check that a gradient of `loss` with respect to `images` can be computed.

    Raises:
        TypeError: If one of them is no tensor.
        ValueError: If `loss` is not 0-dim or has no graph, or if `images` do not require grad.
    """
    for name, given in {"loss": loss, "images": images}.items():
        if not isinstance(given, Tensor):
            raise TypeError(f"`{name}`: expected a tensor, got {type(given).__name__}")
    if loss.dim() != 0:
        raise ValueError(f"`loss`: expected one number (0-dim), got shape {tuple(loss.shape)}")
    if not images.requires_grad:
        raise ValueError("`images`: expected images that require grad; call images.requires_grad_() before the forward")
    if loss.grad_fn is None:
        raise ValueError(
            "`loss`: expected a loss with a graph; compute it from the images with gradients enabled "
            "(see camtrain.gradients.gradients_enabled)"
        )
