"""What all maps at a layer share: the call, the target layers, capturing what they put out, restoring."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from camtrain.gradients import (
    CapturedActivations,
    ClassIndex,
    captured_activations,
    evaluation_mode,
    gradients_enabled,
    left_as_found,
)
from camtrain.gradients.captured_activations import LayoutOf
from camtrain.gradients.not_inference import not_inference
from camtrain.networks import last_spatial_layer
from camtrain.networks.map_layout import map_layout
from camtrain.networks.target_layer import target_layer_of
from camtrain.networks.uncompiled import uncompiled


class BaseCAM(ABC):
    """A map at a layer of a network, or at several.

    A method of the family overrides `maps`, or, if it looks at activations and their gradients alone, derives from
    `GradientCAM`.

    The network is run as it is, in training or evaluation mode (in training mode BatchNorm mixes the images of a batch,
    and so do their maps), and left as found: running statistics, random generators, modes, gradients and hooks, also
    after an error. A compiled network is run as the plain one that it was made of.

    Args:
        network: from (N, 3, H, W) to (N, K) logits.
        target_layer: dotted name or module, or several of them for a method that fuses their maps. It puts out
            (N, C, h, w), (N, h, w, C) as in a Swin transformer, or tokens (N, L, C) as in a vision transformer (see
            `camtrain.networks.map_layout`). `None` finds the last spatial layer at the first call.
        differentiable: keep the map in the graph, through the activations and through the weights, so that a penalty on
            it can be trained.

    Raises:
        ValueError: if no module has that name (with the nearest ones), the module is not in the network, a layer is
            named twice, or there is none in the sequence.
        TypeError: if `target_layer` is something else.
    """

    def __init__(
        self,
        network: nn.Module,
        target_layer: str | nn.Module | Sequence[str | nn.Module] | None = None,
        *,
        differentiable: bool = False,
    ) -> None:
        self.network = network
        self.differentiable = differentiable
        self._target_layers = None if target_layer is None else _modules_of(network, target_layer)

    def __call__(self, images: Tensor, class_idx: ClassIndex = None) -> Tensor:
        """Maps of a batch.

        Args:
            images: (N, 3, H, W).
            class_idx: one class for all images, or (N,) integers; `None` is the predicted class of each. A `Contrast`
                shows why one class rather than another, an `Against` what speaks against a class.

        Returns:
            (N, h, w), raw, on the images' device; detached unless `differentiable`.

        Raises:
            ValueError: if a class is out of range, a target layer does not put out maps or tokens once, or the logits
                do not depend on it.
        """
        # Fused attention has no second derivative; the plain kernel has one.
        attention = sdpa_kernel(SDPBackend.MATH) if self.differentiable else nullcontext()
        with gradients_enabled(), left_as_found(self.network, images.device), uncompiled(), attention:
            # Images made under inference mode cannot enter a graph; a clone can.
            images = not_inference(images)
            cams = self.maps(images, class_idx)
        return cams if self.differentiable else cams.detach()

    @abstractmethod
    def maps(self, images: Tensor, class_idx: ClassIndex) -> Tensor:
        """Maps of a batch, (N, h, w); called where gradients are enabled and the network is left as found."""

    def layers(self, images: Tensor) -> list[nn.Module]:
        """The target layers; the one found with these images if none was named."""
        if self._target_layers is None:
            with evaluation_mode(self.network):
                self._target_layers = [target_layer_of(self.network, last_spatial_layer(self.network, images))]
        return self._target_layers

    def layer(self, images: Tensor) -> nn.Module:
        """The target layer, for a method that works on one.

        Raises:
            ValueError: if there are several.
        """
        layers = self.layers(images)
        if len(layers) > 1:
            raise ValueError(f"`target_layer`: {type(self).__name__} works on one layer, got {len(layers)}")
        return layers[0]

    def captured(
        self, images: Tensor, *, gradients: bool = True, differentiable: bool | None = None
    ) -> AbstractContextManager[CapturedActivations]:
        """A context in which one pass of the network on these images captures what the target layers put out.

        Args:
            images: (N, 3, H, W), what the network is run on.
            gradients: False for a method that needs none: the pass is run without a graph.
            differentiable: whether the graph has also what lies before the layers; `None`: as the method was made.

        Returns:
            A context; where it ends, its `activations` (of the only layer) or `of_layers` are (N, C, h, w), also those
            of tokens.
        """
        return captured_activations(
            self.layers(images),
            differentiable=gradients and (self.differentiable if differentiable is None else differentiable),
            gradients=gradients,
            layout_of=self.layout_of(images),
        )

    def layout_of(self, images: Tensor) -> LayoutOf:
        """From what a layer puts out for these images, and the layer, to its layout, with methods to maps and back."""
        return partial(map_layout, images=images, network=self.network)

    def activations_and_logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """What the target layer puts out, (N, C, h, w), and the logits, (N, K); both without a graph.

        Raises:
            ValueError: if there are several target layers.

        Cost:
            One forward pass.
        """
        self.layer(images)
        with self.captured(images, gradients=False) as captured:
            logits: Tensor = self.network(images)
        return captured.activations, logits


def _modules_of(network: nn.Module, target_layer: str | nn.Module | Sequence[str | nn.Module]) -> list[nn.Module]:
    layers: list[str | nn.Module]
    if isinstance(target_layer, str) or not isinstance(target_layer, Sequence):
        layers = [target_layer]
    else:
        layers = list(target_layer)
    if not layers:
        raise ValueError("`target_layer`: expected at least one layer, got none; None finds one")
    modules = [_module_of(network, layer) for layer in layers]
    if len({id(module) for module in modules}) < len(modules):
        raise ValueError(f"`target_layer`: expected different layers, got {layers!r}")
    return modules


def _module_of(network: nn.Module, layer: object) -> nn.Module:
    if isinstance(layer, str):
        return target_layer_of(network, layer)
    if not isinstance(layer, nn.Module):
        raise TypeError(
            f"`target_layer`: expected a dotted name, a module or None, or a list of names and modules, got {layer!r}"
        )
    if not any(layer is module for module in network.modules()):
        raise ValueError(f"`target_layer`: the {type(layer).__name__} given is not a module of the network")
    return layer
