"""The last spatial layer of each network that a regularizer has seen."""

from __future__ import annotations

from torch import Tensor, nn

from camtrain.gradients import evaluation_mode, left_as_found
from camtrain.gradients.per_network import PerNetwork
from camtrain.networks import last_spatial_layer


class FoundLayers:
    """Finds the last spatial layer of a network once for each size of images. A copy or a pickle starts empty."""

    def __init__(self) -> None:
        self._names = PerNetwork[dict[tuple[int, int], str]]()

    def __call__(self, network: nn.Module, images: Tensor) -> str:
        """The dotted name of the layer.

        Cost:
            A few forward passes of one image in the first call for a network and a size of images.
        """
        names = self._names.setdefault(network, {})
        size = (int(images.shape[-2]), int(images.shape[-1]))
        if size not in names:
            with left_as_found(network, images.device), evaluation_mode(network):
                names[size] = last_spatial_layer(network, images)
        return names[size]
