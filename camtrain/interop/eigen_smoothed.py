"""A map from gradients whose channels are not added up but projected onto their dominant direction."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from camtrain.cams import BaseCAM
from camtrain.cams.eigen_cam import eigen_cam
from camtrain.cams.gradient_cam import GradientCAM
from camtrain.gradients import ClassIndex

_TOLERANCE = 1e-3  # of the sum of the channels, relative to the largest value of the map


class EigenSmoothed(BaseCAM):
    """What `eigen_smooth` of pytorch-grad-cam does to a map: less noise, and less of the class.

    The map of a layer is a sum over its channels, each with its weight. The first principal component of the weighted
    channels takes the place of the sum, then its positive part. Its sign is chosen so that the pixel of largest
    magnitude is positive; that of pytorch-grad-cam is arbitrary.

    Args:
        method: A method from activations and gradients whose map is a sum over the channels.

    Raises:
        TypeError: If it is another method.
        ValueError: When called: if its map is no sum over the channels.
    """

    def __init__(self, method: BaseCAM) -> None:
        if not isinstance(method, GradientCAM):
            raise TypeError(
                "`eigen_smooth`: expected a method from activations and gradients, such as GradCAM, got "
                f"{type(method).__name__}"
            )
        super().__init__(method.network)
        self.method = method

    def layers(self, images: Tensor) -> list[nn.Module]:
        """The target layers of the method."""
        return self.method.layers(images)

    def maps(self, images: Tensor, class_idx: ClassIndex) -> Tensor:
        """See the class."""
        maps = [
            eigen_cam(self._weighted(activations, gradients), centered=True).relu()
            for activations, gradients in self.method.derivatives(images, class_idx)
        ]
        return maps[0] if len(maps) == 1 else self.method.fuse(maps)

    def _weighted(self, activations: Tensor, gradients: Tensor) -> Tensor:
        """The map of each channel alone, (N, C, h, w)."""
        alone = self.method.combine(activations.flatten(0, 1).unsqueeze(1), gradients.flatten(0, 1).unsqueeze(1))
        found = alone.view(activations.shape).detach()
        whole = self.method.combine(activations, gradients).detach()
        if not torch.allclose(found.sum(dim=1), whole, rtol=_TOLERANCE, atol=_TOLERANCE * float(whole.abs().max())):
            raise ValueError(f"`eigen_smooth`: the map of {type(self.method).__name__} is no sum over the channels")
        return found
