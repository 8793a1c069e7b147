"""XGrad-CAM."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from camtrain.cams.gradient_cam import GradientCAM


def x_grad_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """XGrad-CAM: weights each channel by its gradients, averaged in proportion to the activations.

        w_k = Σ_ij A^k_ij / (Σ_ab A^k_ab) · ∂y/∂A^k_ij,    map = ReLU(Σ_k w_k A^k)

    Before the ReLU, the map sums to Σ g ⊙ A, like the map of HiResCAM (the paper calls this axiom conservation).

    The formula is meant for activations that are not negative. With both signs, Σ_ab A^k_ab can come near zero, and the
    weight of the channel is as large as the formula makes it. A channel that sums to zero (after a ReLU, a dead one)
    gets the weight zero; the authors' code adds 1e-6 to the sum instead.

    Args:
        activations: The activations A of a layer, (N, C, h, w).
        gradients: The gradients ∂y/∂A of a class score, (N, C, h, w).

    Returns:
        (N, h, w), at least float32, not negative, not normalized. Differentiable in both arguments.

    Source:
        Fu et al., Axiom-based Grad-CAM: Towards Accurate Visualization and Explanation of CNNs, BMVC 2020, arXiv
        2008.02312; the ReLU is that of the authors' code.

    Example:
        >>> activations = torch.tensor([[[[1.0, 3.0]], [[0.0, 2.0]]]])
        >>> gradients = torch.tensor([[[[2.0, -2.0]], [[7.0, 1.0]]]])  # weights 1/4 · 2 - 3/4 · 2 = -1 and 1
        >>> x_grad_cam(activations, gradients)
        tensor([[[0., 0.]]])
        >>> x_grad_cam(activations, -gradients)
        tensor([[[1., 1.]]])
    """
    return _weighted_sum(activations, gradients).relu()


def _weighted_sum(activations: Tensor, gradients: Tensor) -> Tensor:
    # In float16 the sum would overflow.
    precision = torch.promote_types(activations.dtype, torch.float32)
    total = activations.sum(dim=(-2, -1), keepdim=True, dtype=precision)
    # The denominator is made safe before the division: a NaN in the unused branch would still reach the gradient.
    dead = total.abs() < torch.finfo(total.dtype).tiny
    fractions = torch.where(dead, 0.0, activations / torch.where(dead, 1.0, total))
    weights = (fractions * gradients).sum(dim=(-2, -1), keepdim=True)
    return (weights * activations).sum(dim=1)


class XGradCAM(GradientCAM):
    """XGrad-CAM: weights each channel of a layer by its gradients, averaged in proportion to the activations.

    See `x_grad_cam` for the formula and `BaseCAM` for the arguments.

    Cost:
        One forward pass and a backward pass of the layers behind the target layer, for the whole batch at once.

    Example:
        >>> from camtrain.networks import CIFARResNet
        >>> XGradCAM(CIFARResNet(depth=8), "layer3")(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 8, 8])
    """

    is_rectified: ClassVar[bool] = True

    def combine(self, activations: Tensor, gradients: Tensor) -> Tensor:
        """See `x_grad_cam`; the ReLU follows."""
        return _weighted_sum(activations, gradients)
