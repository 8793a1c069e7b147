"""What all maps at a layer share: the call, the target layers, the capture of their outputs, the restoring."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from camtrain.batch import check_finite_images, check_images
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
from camtrain.networks import last_spatial_layer, module_of
from camtrain.networks.map_layout import map_layout
from camtrain.networks.target_layer import target_layer_of
from camtrain.networks.uncompiled import uncompiled


class BaseCAM(ABC):
    """A map at one layer of a network, or at several: the base class of all such methods.

    A subclass overrides `maps`. If it needs only activations and their gradients, it derives from `GradientCAM`.

    The network is run in the mode it is in, training or evaluation; in training mode, BatchNorm mixes the images of a
    batch, and their maps depend on each other. The network is left as found, also after an error: running statistics,
    random generators, modes, gradients and hooks. A compiled network is run uncompiled.

    Args:
        network: A network from (N, C, H, W) to (N, K) logits.
        target_layer: The layer, by its dotted name or as a module, or several layers for a method that fuses their
            maps. Its output is (N, C, h, w), (N, h, w, C) as in a Swin transformer, or tokens (N, L, C) as in a vision
            transformer (see `camtrain.networks.map_layout`). `None` finds the last spatial layer, at the first call
            for each size of images.
        differentiable: Whether the map stays in the graph, through the activations and through the weights, so that a
            penalty on it can be trained.

    Attributes:
        layout_of_output: The function that finds the maps in the output of a layer; `None` finds them from the shapes.

    Raises:
        ValueError: If no module has that name (the message suggests the nearest ones), the module is not in the
            network, a layer is named twice, or the sequence of layers is empty.
        TypeError: If the network is no module, or `target_layer` has another type.
    """

    def __init__(
        self,
        network: nn.Module,
        target_layer: str | nn.Module | Sequence[str | nn.Module] | None = None,
        *,
        differentiable: bool = False,
    ) -> None:
        self.network = module_of(network)
        self.differentiable = differentiable
        self.layout_of_output: LayoutOf | None = None
        self._target_layers = None if target_layer is None else _modules_of(self.network, target_layer)
        self._found: dict[tuple[int, int], nn.Module] = {}

    def __call__(self, images: Tensor, class_idx: ClassIndex = None) -> Tensor:
        """Make the maps of a batch.

        Args:
            images: The images, (N, C, H, W).
            class_idx: The class to explain: one for all images, or (N,) integers; `None` explains the predicted class
                of each image. A `Contrast` shows why one class rather than another, an `Against` what speaks against a
                class.

        Returns:
            (N, h, w), raw, on the device of the images; detached unless `differentiable`.

        Raises:
            TypeError: If the images are no floating-point tensor, or `class_idx` has another type.
            ValueError: If the images are not (N, C, H, W) or not finite, a class is out of range, a target layer does
                not run once and return maps or tokens, or the logits do not depend on it.
        """
        check_images(images)
        check_finite_images(images)
        # The fused attention kernels have no second derivative; the plain one does.
        attention = sdpa_kernel(SDPBackend.MATH) if self.differentiable else nullcontext()
        with gradients_enabled(), left_as_found(self.network, images.device), uncompiled(), attention:
            # Inference tensors cannot enter a graph; a clone can.
            images = not_inference(images)
            cams = self.maps(images, class_idx)
        return cams if self.differentiable else cams.detach()

    @property
    def chosen_layers(self) -> list[nn.Module] | None:
        """The target layers, as far as they are known; `None` where they are found at the first call."""
        return self._target_layers

    @abstractmethod
    def maps(self, images: Tensor, class_idx: ClassIndex) -> Tensor:
        """The maps of a batch, (N, h, w). Called with gradients enabled; the caller restores the network."""

    def layers(self, images: Tensor) -> list[nn.Module]:
        """The target layers. If none was named, the last spatial layer for images of this size."""
        if self._target_layers is not None:
            return self._target_layers
        size = (int(images.shape[-2]), int(images.shape[-1]))
        if size not in self._found:
            with evaluation_mode(self.network):
                self._found[size] = target_layer_of(self.network, last_spatial_layer(self.network, images))
        return [self._found[size]]

    def layer(self, images: Tensor) -> nn.Module:
        """The target layer, for a method that works on a single one.

        Raises:
            ValueError: If there are several.
        """
        layers = self.layers(images)
        if len(layers) > 1:
            raise ValueError(f"`target_layer`: {type(self).__name__} works on one layer, got {len(layers)}")
        return layers[0]

    def captured(
        self, images: Tensor, *, gradients: bool = True, differentiable: bool | None = None
    ) -> AbstractContextManager[CapturedActivations]:
        """Capture the outputs of the target layers in one pass of the network.

        Args:
            images: The images that the network is run on, (N, C, H, W).
            gradients: Whether gradients are needed. If not, the pass is run without a graph.
            differentiable: Whether the graph also contains the layers before the target layers; `None` takes the
                setting of the method.

        Returns:
            A context manager. Run the network inside it; after it ends, its `activations` (of a single layer) or
            `of_layers` are (N, C, h, w), for tokens too.
        """
        return captured_activations(
            self.layers(images),
            differentiable=gradients and (self.differentiable if differentiable is None else differentiable),
            gradients=gradients,
            layout_of=self.layout_of(images),
        )

    def layout_of(self, images: Tensor) -> LayoutOf:
        """The function that finds the layout of a layer's output for these images, which converts to maps and back."""
        return self.layout_of_output or partial(map_layout, images=images, network=self.network)

    def activations_and_logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The output of the target layer, (N, C, h, w), and the logits, (N, K), both without a graph.

        Raises:
            ValueError: If there are several target layers.

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
