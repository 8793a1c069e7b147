"""Grad-CAM++."""

from __future__ import annotations

import torch
from torch import Tensor

from camtrain.cams.gradient_cam import GradientCAM


def grad_cam_plus_plus(activations: Tensor, gradients: Tensor) -> Tensor:
    """Grad-CAM++: positive gradients, weighted so that objects of different sizes count alike.

        α^k_ij = ∂²Y/∂(A^k_ij)² / (2 ∂²Y/∂(A^k_ij)² + Σ_ab A^k_ab · ∂³Y/∂(A^k_ij)³)
        w_k = Σ_ij α^k_ij ReLU(∂Y/∂A^k_ij),    map = ReLU(Σ_k w_k A^k)

    The paper scores with Y = exp(S) of the logit S, and ReLU networks are piecewise linear in A; with g = ∂S/∂A the
    derivatives of Y are then exp(S) g, exp(S) g² and exp(S) g³, and exp(S) cancels in

        α = g² / (2 g² + (Σ_ab A_ab) g³) = 1 / (2 + (Σ_ab A_ab) g)    (eq. 19; 0 where g = 0)

    The second form is the one computed, since g³ underflows where gradients are small.

    Departures. Kept is ReLU(g), where the paper has ReLU(∂Y/∂A) = exp(S) ReLU(g): exp(S) is one positive factor for the
    whole map of an image, overflows float32 at S = 89, and would make a penalty on the map one on the score. So the map
    of the paper is exp(S) times this one. The authors' code also divides the α of each channel by their sum, which is
    in none of the equations and not done here.

    The sum over A is over the channel alone, before it meets g³; it is not Σ_ab A_ab g³_ab. After a ReLU it is not
    negative and the denominator at least 2. Before one the denominator can come near zero, and α is as large as the
    formula makes it; a pixel at which it is exactly zero gets α = 0.

    Args:
        activations: (N, C, h, w).
        gradients: (N, C, h, w), of a class score with respect to them.

    Returns:
        (N, h, w), at least float32, not negative, not normalized. Differentiable in both arguments.

    Source:
        Chattopadhyay et al., Grad-CAM++: Improved Visual Explanations for Deep Convolutional Networks, WACV 2018, eqs.
        5, 10 and 19, arXiv 1710.11063.

    Example:
        >>> activations = torch.tensor([[[[1.0, 1.0]], [[0.0, 3.0]]]])
        >>> gradients = torch.tensor([[[[1.0, -1.0]], [[2.0, 0.0]]]])  # weights 1 / (2 + 2·1) and 2 / (2 + 3·2)
        >>> grad_cam_plus_plus(activations, gradients)
        tensor([[[0.2500, 1.0000]]])
    """
    # In float16 the sum would overflow.
    precision = torch.promote_types(activations.dtype, torch.float32)
    denominator = 2 + activations.sum(dim=(-2, -1), keepdim=True, dtype=precision) * gradients
    # Made safe before the division: a NaN in the unused branch would still reach the gradient.
    counted = (gradients > 0) & (denominator != 0)
    weighted = torch.where(counted, gradients, 0.0) / torch.where(counted, denominator, 1.0)
    weights = weighted.sum(dim=(-2, -1), keepdim=True)
    return (weights * activations).sum(dim=1).relu()


class GradCAMPlusPlus(GradientCAM):
    """Grad-CAM++ of a network; see `grad_cam_plus_plus` for the formula and `BaseCAM` for the arguments.

    Cost:
        One forward pass and a backward pass of the layers behind the target layer, for the whole batch at once.

    Example:
        >>> from camtrain.networks import CIFARResNet
        >>> GradCAMPlusPlus(CIFARResNet(depth=8), "layer3")(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 8, 8])
    """

    def combine(self, activations: Tensor, gradients: Tensor) -> Tensor:
        """See `grad_cam_plus_plus`."""
        return grad_cam_plus_plus(activations, gradients)
