"""Grad-CAM."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from camtrain.cams.gradient_cam import GradientCAM


def grad_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Grad-CAM: the sum of the channels, each weighted by its mean gradient.

        α_k = 1/(hw) Σ_ij ∂y/∂A^k_ij,    map = ReLU(Σ_k α_k A^k)

    Args:
        activations: The activations A of a layer, (N, C, h, w).
        gradients: The gradients ∂y/∂A of a class score, (N, C, h, w).

    Returns:
        (N, h, w), not negative, not normalized. Differentiable in both arguments.

    Source:
        Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization, ICCV 2017,
        eqs. 1 and 2, arXiv 1610.02391.

    Example:
        >>> import torch
        >>> activations = torch.tensor([[[[1.0, 0.0]], [[0.0, 3.0]]]])
        >>> gradients = torch.tensor([[[[2.0, 0.0]], [[-1.0, -1.0]]]])  # weights 1 and -1
        >>> grad_cam(activations, gradients)
        tensor([[[1., 0.]]])
    """
    return _weighted_sum(activations, gradients).relu()


def _weighted_sum(activations: Tensor, gradients: Tensor) -> Tensor:
    weights = gradients.mean(dim=(-2, -1), keepdim=True)
    return (weights * activations).sum(dim=1)


class GradCAM(GradientCAM):
    """Grad-CAM: weights each channel of a layer by its mean gradient of the class score.

    See `grad_cam` for the formula and `BaseCAM` for the arguments.

    Cost:
        One forward pass and a backward pass of the layers behind the target layer, for the whole batch at once.

    Example:
        >>> import torch
        >>> from camtrain.networks import CIFARResNet
        >>> GradCAM(CIFARResNet(depth=8), "layer3")(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 8, 8])
    """

    is_rectified: ClassVar[bool] = True

    def combine(self, activations: Tensor, gradients: Tensor) -> Tensor:
        """See `grad_cam`; the ReLU follows."""
        return _weighted_sum(activations, gradients)
