"""The image times the gradient of the class score."""

from __future__ import annotations

from torch import Tensor

from camtrain.attributions.base_attribution import BaseAttribution
from camtrain.attributions.saliency_map import ChannelReduction
from camtrain.gradients import ClassIndex


def input_x_gradient(images: Tensor, gradients: Tensor) -> Tensor:
    """Input × gradient, a = x ⊙ ∂y/∂x: the contribution of each value to the score of a network that is linear in x.

    The result depends on where zero is: in normalized images, a value equal to the mean of the data set gets nothing.

    Args:
        images: The images x, (N, C, H, W).
        gradients: The gradients ∂y/∂x, (N, C, H, W).

    Returns:
        (N, C, H, W). Differentiable in both arguments.

    Source:
        Shrikumar et al., Not Just a Black Box: Learning Important Features Through Propagating Activation Differences,
        2016, arXiv 1605.01713.

    Example:
        >>> import torch
        >>> input_x_gradient(torch.tensor([2.0, 3.0]), torch.tensor([-1.0, 0.5]))
        tensor([-2.0000,  1.5000])
    """
    return images * gradients


class InputXGradient(BaseAttribution):
    """Input × gradient: multiplies the image by the input gradient of the class score.

        a = x ⊙ ∂y/∂x

    See `input_x_gradient` for what it means and `BaseAttribution` for the arguments.

    Cost:
        One forward pass and one backward pass to the input.

    Example:
        >>> import torch
        >>> from camtrain.networks import CIFARResNet
        >>> InputXGradient(CIFARResNet(depth=8))(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 3, 32, 32])
    """

    reduction: ChannelReduction = "sum"

    def attributions(self, images: Tensor, class_idx: ClassIndex) -> Tensor:
        """See `input_x_gradient`."""
        return input_x_gradient(images, self.gradient(images, class_idx))
