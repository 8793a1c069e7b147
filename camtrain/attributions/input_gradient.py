"""The gradient of the class score at the input."""

from __future__ import annotations

from torch import Tensor

from camtrain.attributions.base_attribution import BaseAttribution
from camtrain.gradients import ClassIndex


class InputGradient(BaseAttribution):
    """The input gradient of the class score; see `BaseAttribution` for the arguments.

        a = ∂y/∂x

    Departure from the paper: the result is signed and has the channels of the image. `saliency_map` takes the largest
    magnitude over the channels, as the paper does.

    Cost:
        One forward pass and one backward pass to the input.

    Source:
        Simonyan et al., Deep Inside Convolutional Networks: Visualising Image Classification Models and Saliency Maps,
        ICLR workshop 2014, section 3, arXiv 1312.6034.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(3, 2, bias=False))
        >>> _ = network[1].weight.data.copy_(torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, -4.0]]))
        >>> InputGradient(network)(torch.ones(1, 3, 1, 1), class_idx=1).flatten()
        tensor([ 0.,  0., -4.])
    """

    def attributions(self, images: Tensor, class_idx: ClassIndex) -> Tensor:
        """See the class."""
        return self.gradient(images, class_idx)
