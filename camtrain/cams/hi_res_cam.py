"""HiResCAM."""

from __future__ import annotations

from torch import Tensor

from camtrain.cams.gradient_cam import GradientCAM


def hi_res_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """HiResCAM: each activation times its own gradient, without averaging the gradient over the channel.

        map = Σ_k ∂y/∂A^k ⊙ A^k

    If the score is a linear function of the target layer (average pooling or flattening, and one linear layer), the map
    sums to the score minus the bias, y = Σ_ij map_ij + b, and shows exactly where it comes from. As in the paper and
    the authors' code there is no ReLU: negative values are evidence against the class.

    Args:
        activations: The activations A of a layer, (N, C, h, w).
        gradients: The gradients ∂y/∂A of a class score, (N, C, h, w).

    Returns:
        (N, h, w), of both signs, not normalized. Differentiable in both arguments.

    Source:
        Draelos and Carin, Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural networks,
        2020, arXiv 2011.08891.

    Example:
        >>> import torch
        >>> activations = torch.tensor([[[[1.0, 0.0]], [[2.0, 3.0]]]])
        >>> gradients = torch.tensor([[[[2.0, 5.0]], [[-1.0, -1.0]]]])
        >>> hi_res_cam(activations, gradients)
        tensor([[[ 0., -3.]]])
    """
    return (gradients * activations).sum(dim=1)


class HiResCAM(GradientCAM):
    """HiResCAM: multiplies each activation of a layer by its own gradient of the class score.

    See `hi_res_cam` for the formula and `BaseCAM` for the arguments.

    Cost:
        One forward pass and a backward pass of the layers behind the target layer, for the whole batch at once.

    Example:
        >>> import torch
        >>> from camtrain.networks import CIFARResNet
        >>> HiResCAM(CIFARResNet(depth=8), "layer3")(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 8, 8])
    """

    def combine(self, activations: Tensor, gradients: Tensor) -> Tensor:
        """See `hi_res_cam`."""
        return hi_res_cam(activations, gradients)
