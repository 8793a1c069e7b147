"""The last spatial layer of each network that a regularizer has seen."""

from __future__ import annotations

from torch import Tensor, nn

from camtrain.gradients import evaluation_mode, left_as_found
from camtrain.gradients.per_network import PerNetwork
from camtrain.networks import last_spatial_layer


class FoundLayers:
    """Finds the last spatial layer of a network once and remembers it. A copy or a pickle starts empty."""

    def __init__(self) -> None:
        self._names = PerNetwork[str]()

    def __call__(self, network: nn.Module, images: Tensor) -> str:
        """The dotted name of the layer.

        Cost:
            One forward pass in the first call for a network.
        """
        if network not in self._names:
            with left_as_found(network, images.device), evaluation_mode(network):
                self._names[network] = last_spatial_layer(network, images)
        return self._names[network]
