"""What all maps at a layer share: the call, the target layer, restoring."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from camtrain.gradients import evaluation_mode, gradients_enabled, left_as_found
from camtrain.networks import last_spatial_layer, target_layer_of


class BaseCAM(ABC):
    """A map at a layer of a network.

    A method of the family overrides `maps`, or, if it looks at activations and their gradients alone, derives from
    `GradientCAM`.

    The network is run as it is, in training or evaluation mode (in training mode BatchNorm mixes the images of a batch,
    and so do their maps), and left as found: running statistics, random generators, modes, gradients and hooks, also
    after an error.

    Args:
        network: from (N, 3, H, W) to (N, K) logits.
        target_layer: dotted name or module; it puts out (N, C, h, w). `None` finds the last spatial layer at the first
            call.
        differentiable: keep the map in the graph, through the activations and through the weights, so that a penalty on
            it can be trained.

    Raises:
        ValueError: if no module has that name (with the nearest ones), or the module is not in the network.
        TypeError: if `target_layer` is something else.
    """

    def __init__(
        self, network: nn.Module, target_layer: str | nn.Module | None = None, *, differentiable: bool = False
    ) -> None:
        if not (target_layer is None or isinstance(target_layer, (str, nn.Module))):
            raise TypeError(f"`target_layer`: expected a dotted name, a module or None, got {target_layer!r}")
        if isinstance(target_layer, nn.Module) and not any(target_layer is module for module in network.modules()):
            raise ValueError(f"`target_layer`: the {type(target_layer).__name__} given is not a module of the network")
        self.network = network
        self.differentiable = differentiable
        self._target_layer = target_layer_of(network, target_layer) if isinstance(target_layer, str) else target_layer

    def __call__(self, images: Tensor, class_idx: int | Tensor | None = None) -> Tensor:
        """Maps of a batch.

        Args:
            images: (N, 3, H, W).
            class_idx: one class for all images, or (N,) integers; `None` is the predicted class of each.

        Returns:
            (N, h, w), raw, on the images' device; detached unless `differentiable`.

        Raises:
            ValueError: if a class is out of range, the target layer does not put out (N, C, h, w) once, or the logits
                do not depend on it.
        """
        with gradients_enabled(), left_as_found(self.network, images.device):
            # Images made under inference mode cannot enter a graph; a clone can.
            images = images.clone() if images.is_inference() else images
            cams = self.maps(images, class_idx)
        return cams if self.differentiable else cams.detach()

    @abstractmethod
    def maps(self, images: Tensor, class_idx: int | Tensor | None) -> Tensor:
        """Maps of a batch, (N, h, w); called where gradients are enabled and the network is left as found."""

    def layer(self, images: Tensor) -> nn.Module:
        """The target layer; found with these images if none was named."""
        if self._target_layer is None:
            with evaluation_mode(self.network):
                self._target_layer = target_layer_of(self.network, last_spatial_layer(self.network, images))
        return self._target_layer
