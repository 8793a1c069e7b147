"""What a penalty on a map is."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from camtrain.attributions.saliency_map import saliency_map
from camtrain.cams import GradientCAM, resize
from camtrain.gradients import CapturedActivations
from camtrain.methods import Method, is_differentiable, method_class, method_named, resized_maps
from camtrain.regularizers.annotated_regions import AnnotationKind, annotated_regions
from camtrain.regularizers.found_layers import FoundLayers
from camtrain.regularizers.input_gradient_regularizer import ExplainedScalar, InputGradientRegularizer
from camtrain.regularizers.pass_regularizer import PassRegularizer, TrainingPass
from camtrain.regularizers.regularizer import Penalty

ClassOf = Literal["label", "random"]


class MapRegularizer(PassRegularizer):
    """L_R as the mean of a penalty on each image's map of a class, at the size of the images.

    Maps of activations and gradients (Grad-CAM, Grad-CAM++, XGrad-CAM, HiResCAM, LayerCAM) come from the training pass
    itself, and their gradient reaches the parameters through activations and weights. So BatchNorm normalizes by the
    training batch, as it does for L_C. Other methods run a pass of their own. `input_gradient` is a penalty on the
    input gradient, and its gradient reaches the parameters by the engine.

    Where λ is too large a map evades its penalty by having no positive value at all: such an image does not count, and
    has no gradient that would bring its map back. Watch `train/regularizer_counted`, and `flat_maps` of
    `LocalizationScores`.

    A subclass implements `forward`.

    Args:
        method: which map, a name of `camtrain.methods.METHODS` that can be trained through.
        target_layer: dotted name of the layer, or several names for a method that fuses them; null is the last one
            with pixels or tokens. Where one linear layer follows global average pooling, the weights of Grad-CAM at the
            last layer are that layer's parameters.
        annotation: where the object is, for penalties that ask: `masks`, `boxes`, or `any`, which is the mask of an
            image that has one and its boxes otherwise. Several boxes count as their union.
        class_of: whose map is penalized: that of the `label`, or that of a class drawn at random for each image in each
            step. What stands outside the object may speak against all other classes and so for the label, which the
            label's own map does not show.

    Raises:
        ValueError: if there is no such method, it cannot be trained through, a setting has another name, or the input
            gradient of random classes is asked for.
    """

    def __init__(
        self,
        method: str = "grad_cam",
        target_layer: str | list[str] | None = None,
        annotation: AnnotationKind = "any",
        class_of: ClassOf = "label",
    ) -> None:
        super().__init__()
        if not is_differentiable(method):
            raise ValueError(f"`method`: {method} cannot be trained through; grad_cam or input_gradient can")
        if annotation not in get_args(AnnotationKind):
            raise ValueError(f"`annotation`: expected one of {get_args(AnnotationKind)}, got {annotation!r}")
        if class_of not in get_args(ClassOf):
            raise ValueError(f"`class_of`: expected one of {get_args(ClassOf)}, got {class_of!r}")
        if class_of == "random" and method == "input_gradient":
            raise ValueError("`class_of`: expected label for the input gradient, got random; see RightForRightReasons")
        self.class_of: ClassOf = class_of
        self.method = method
        self.target_layer = target_layer
        self.annotation: AnnotationKind = annotation
        self._found = FoundLayers()

    @abstractmethod
    def forward(self, cams: Tensor, regions: Tensor | None = None) -> Tensor | Penalty:
        """Penalty of each image.

        Args:
            cams: (N, H, W) raw maps at the size of the images, at least float32.
            regions: (N, H, W) bool, true on the object and nowhere true where that is unknown; `None` unless
                `needs_annotation`.

        Returns:
            (N,); a `Penalty` where some images do not count.
        """

    def watching(self, network: nn.Module, images: Tensor) -> AbstractContextManager[Any]:
        """Captures the target layers, where the map is made of the training pass."""
        method = self.method_of(network, images)
        return _captured(method, images) if isinstance(method, GradientCAM) else nullcontext()

    def penalty(self, training_pass: TrainingPass) -> Tensor | Penalty:
        """Of the maps of the training pass."""
        return self.of_cams(self.cams(training_pass), training_pass.boxes, training_pass.masks)

    def cams(self, training_pass: TrainingPass) -> Tensor:
        """Raw maps, (N, H, W), at the size of the images."""
        images = training_pass.images
        classes = training_pass.labels
        if self.class_of == "random":
            classes = torch.randint_like(classes, training_pass.logits.shape[1])
        method = self.method_of(training_pass.network, images)
        if not isinstance(method, GradientCAM):
            return resized_maps(method, images.detach(), classes)
        of_pass = training_pass.captured.of_layers, training_pass.logits, images, classes
        return resize(method.maps_of_pass(*of_pass), (int(images.shape[-2]), int(images.shape[-1])))

    def of_cams(self, cams: Tensor, boxes: list[Tensor] | None, masks: Tensor | None) -> Tensor | Penalty:
        """Penalty of maps, (N, H, W), with what the batch is annotated with."""
        if not self.needs_annotation:
            return self(cams)  # type: ignore[no-any-return]
        regions = annotated_regions(boxes, masks, (int(cams.shape[-2]), int(cams.shape[-1])), self.annotation)
        if regions is None:
            return Penalty(cams.flatten(1).sum(1) * 0, torch.zeros(len(cams), dtype=torch.bool, device=cams.device))
        return self(cams, regions.to(cams.device))  # type: ignore[no-any-return]

    def on_input_gradient(self) -> InputGradientRegularizer | None:
        """The same penalty for an engine, where the map is the input gradient; `None` where it is another."""
        return _OnInputGradient(self) if self.method == "input_gradient" else None

    def method_of(self, network: nn.Module, images: Tensor) -> Method:
        """The method, for a network."""
        layer: str | Sequence[str] | None = self.target_layer
        if layer is None and "target_layer" in inspect.signature(method_class(self.method)).parameters:
            layer = self._found(network, images)
        return method_named(self.method, network, layer, differentiable=True)

    def extra_repr(self) -> str:
        """Settings, for printing."""
        where = f"method={self.method!r}, target_layer={self.target_layer!r}"
        return f"{where}, annotation={self.annotation!r}, class_of={self.class_of!r}"


@contextmanager
def _captured(method: GradientCAM, images: Tensor) -> Iterator[CapturedActivations]:
    # Fused attention has no second derivative; the plain kernel has one.
    with sdpa_kernel(SDPBackend.MATH), method.captured(images) as captured:
        yield captured


class _OnInputGradient(InputGradientRegularizer):
    """A penalty on the map max_c |∂y/∂x_c| of the label's logit y, as one on the input gradient."""

    explained: ExplainedScalar = "class_score"

    def __init__(self, of_map: MapRegularizer) -> None:
        super().__init__()
        self.of_map = of_map

    def forward(
        self,
        gradients: Tensor,
        guided_gradients: Tensor | None,
        *,
        boxes: list[Tensor] | None = None,
        masks: Tensor | None = None,
    ) -> Tensor | Penalty:
        """See `InputGradientRegularizer`."""
        return self.of_map.of_cams(saliency_map(gradients), boxes, masks)
