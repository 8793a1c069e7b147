"""Grad-CAM++."""

from __future__ import annotations

import torch
from torch import Tensor

from camtrain.cams.gradient_cam import GradientCAM


def grad_cam_plus_plus(activations: Tensor, gradients: Tensor) -> Tensor:
    """Grad-CAM++: weights positive gradients so that objects of different sizes count equally.

        α^k_ij = ∂²Y/∂(A^k_ij)² / (2 ∂²Y/∂(A^k_ij)² + Σ_ab A^k_ab · ∂³Y/∂(A^k_ij)³)
        w_k = Σ_ij α^k_ij ReLU(∂Y/∂A^k_ij),    map = ReLU(Σ_k w_k A^k)

    The paper uses the score Y = exp(S) of the logit S, and ReLU networks are piecewise linear in A. With g = ∂S/∂A, the
    derivatives of Y are then exp(S) g, exp(S) g² and exp(S) g³, and exp(S) cancels in

        α = g² / (2 g² + (Σ_ab A_ab) g³) = 1 / (2 + (Σ_ab A_ab) g)    (eq. 19; 0 where g = 0)

    The second form is computed, since g³ underflows for small gradients.

    Departures: the weights use ReLU(g) instead of the paper's ReLU(∂Y/∂A) = exp(S) ReLU(g), so the paper's map is
    exp(S) times this one. exp(S) is one positive factor for the whole map of an image, overflows float32 at S = 89, and
    would turn a penalty on the map into a penalty on the score. The authors' code also divides the α of each channel by
    their sum; this is in none of the equations and is not done here.

    The sum Σ_ab A_ab is taken over the channel before it is multiplied by g³; it is not Σ_ab A_ab g³_ab. After a ReLU
    it is not negative, and the denominator is at least 2. Without a ReLU, the denominator can come near zero, and α is
    as large as the formula makes it; a pixel where it is exactly zero gets α = 0.

    Args:
        activations: The activations A of a layer, (N, C, h, w).
        gradients: The gradients ∂y/∂A of a class score, (N, C, h, w).

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
    """Grad-CAM++: weights each channel of a layer by its positive gradients, independent of the size of the object.

    See `grad_cam_plus_plus` for the formula and `BaseCAM` for the arguments.

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
