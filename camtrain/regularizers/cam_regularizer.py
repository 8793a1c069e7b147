"""The base of all regularizers of maps: it makes the maps, at a layer, from the training pass."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from camtrain.cams import GradientCAM, resize
from camtrain.gradients import CapturedActivations
from camtrain.methods import Method, is_differentiable, method_class, method_named, resized_maps
from camtrain.regularizers.found_layers import FoundLayers
from camtrain.regularizers.pass_regularizer import PassRegularizer, TrainingPass


class CAMRegularizer(PassRegularizer):
    """L_R as a function of maps of the training pass.

    Methods that combine activations and gradients (Grad-CAM, Grad-CAM++, XGrad-CAM, HiResCAM, LayerCAM) take both from
    the training pass itself. Their gradient reaches the parameters through activations and weights, and BatchNorm
    normalizes by the training batch, as it does for L_C. Other methods run a pass of their own.

    A subclass implements `penalty` and gets its maps from `cams`. To penalize each map by itself, derive from
    `MapRegularizer`.

    Args:
        method: The method that makes the map, a name in `camtrain.methods.METHODS` that can be trained through.
        target_layer: The layer of the map, by its dotted name, or several names for a method that fuses layers; null is
            the last layer with pixels or tokens. Where only global average pooling and one linear layer follow, the
            weights of Grad-CAM are the parameters of that linear layer.

    Raises:
        ValueError: If there is no such method, it cannot be trained through, or `input_gradient` is given where a layer
            is needed.
    """

    takes_input_gradient: ClassVar[bool] = False
    revives_flat_maps: ClassVar[bool] = False

    def __init__(self, method: str = "grad_cam", target_layer: str | list[str] | None = None) -> None:
        super().__init__()
        if method == "input_gradient" and not self.takes_input_gradient:
            raise ValueError(f"`method`: {type(self).__name__} needs a map at a layer, got input_gradient")
        if not is_differentiable(method):
            raise ValueError(f"`method`: {method} cannot be trained through; grad_cam or layer_cam can")
        self.method = method
        self.target_layer = target_layer
        self._found = FoundLayers()

    def watching(self, network: nn.Module, images: Tensor) -> AbstractContextManager[Any]:
        """Captures the target layers if the map is made from the training pass."""
        method = self.method_of(network, images)
        return _captured(method, images) if isinstance(method, GradientCAM) else nullcontext()

    def cams(
        self, training_pass: TrainingPass, classes: Tensor | None = None, *, differentiable: bool = True
    ) -> Tensor:
        """Raw maps, (N, H, W), at the size of the images.

        Args:
            training_pass: The training pass.
            classes: (N,) class indices of the maps; `None` is the labels.
            differentiable: Whether the maps are in the graph. Maps without a graph are cheaper.
        """
        images = training_pass.images
        classes = training_pass.labels if classes is None else classes
        method = self.method_of(training_pass.network, images, differentiable=differentiable)
        if isinstance(method, GradientCAM):
            of_pass = training_pass.captured.of_layers, training_pass.logits, images, classes
            cams = resize(method.maps_of_pass(*of_pass), (int(images.shape[-2]), int(images.shape[-1])))
        else:
            cams = resized_maps(method, images.detach(), classes)
        return cams if differentiable else cams.detach()

    def method_of(self, network: nn.Module, images: Tensor, *, differentiable: bool = True) -> Method:
        """The method that makes the maps, set up for a network."""
        layer = self.target_layer
        if layer is None and "target_layer" in inspect.signature(method_class(self.method)).parameters:
            layer = self._found(network, images)
        method = method_named(self.method, network, layer, differentiable=differentiable)
        if isinstance(method, GradientCAM):
            method.revives_flat_maps = self.revives_flat_maps
        return method

    def extra_repr(self) -> str:
        """Settings, for printing."""
        return f"method={self.method!r}, target_layer={self.target_layer!r}"


@contextmanager
def _captured(method: GradientCAM, images: Tensor) -> Iterator[CapturedActivations]:
    # Fused attention has no second derivative; the plain kernel does.
    with sdpa_kernel(SDPBackend.MATH), method.captured(images) as captured:
        yield captured
