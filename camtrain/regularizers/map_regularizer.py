"""What a penalty on each image's map is."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from camtrain.attributions.saliency_map import saliency_map
from camtrain.regularizers.annotated_regions import AnnotationKind, annotated_regions
from camtrain.regularizers.cam_regularizer import CAMRegularizer
from camtrain.regularizers.input_gradient_regularizer import ExplainedScalar, InputGradientRegularizer
from camtrain.regularizers.pass_regularizer import TrainingPass
from camtrain.regularizers.regularizer import Penalty

ClassOf = Literal["label", "random"]


class MapRegularizer(CAMRegularizer):
    """L_R as the mean of a penalty on each image's map of a class, at the size of the images.

    See `CAMRegularizer` for where maps come from. With `method: input_gradient` it is a penalty on the input gradient,
    and its gradient reaches the parameters by the engine.

    Where λ is too large a map evades its penalty by having no positive value at all: such an image does not count, and
    has no gradient that would bring its map back. Watch `train/regularizer_counted/<term>`, and `flat_maps` of
    `LocalizationScores`.

    A subclass implements `forward`, and says with `needs_annotation` whether it asks where the object is.

    Args:
        method: see `CAMRegularizer`; or `input_gradient`.
        target_layer: see `CAMRegularizer`.
        annotation: where the object is, for penalties that ask: `masks`, `boxes`, or `any`, which is the mask of an
            image that has one and its boxes otherwise. Several boxes count as their union.
        class_of: whose map is penalized: that of the `label`, or that of a class drawn at random for each image in each
            step. What stands outside the object may speak against all other classes and so for the label, which the
            label's own map does not show.

    Raises:
        ValueError: if there is no such method, it cannot be trained through, a setting has another name, an annotation
            is chosen for a penalty that does not ask for one, or the input gradient of random classes is asked for.
    """

    takes_input_gradient: ClassVar[bool] = True

    def __init__(
        self,
        method: str = "grad_cam",
        target_layer: str | list[str] | None = None,
        annotation: AnnotationKind = "any",
        class_of: ClassOf = "label",
    ) -> None:
        super().__init__(method, target_layer)
        if annotation not in get_args(AnnotationKind):
            raise ValueError(f"`annotation`: expected one of {get_args(AnnotationKind)}, got {annotation!r}")
        if annotation != "any" and not self.needs_annotation:
            raise ValueError(f"`annotation`: {type(self).__name__} looks at none, got {annotation!r}")
        if class_of not in get_args(ClassOf):
            raise ValueError(f"`class_of`: expected one of {get_args(ClassOf)}, got {class_of!r}")
        if class_of == "random" and method == "input_gradient":
            raise ValueError("`class_of`: expected label for the input gradient, got random; see RightForRightReasons")
        self.annotation: AnnotationKind = annotation
        self.class_of: ClassOf = class_of

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

    @property
    def looks_at(self) -> AnnotationKind | None:
        """See `Regularizer`."""
        return self.annotation if self.needs_annotation else None

    def penalty(self, training_pass: TrainingPass) -> Tensor | Penalty:
        """Of the maps of the training pass."""
        classes = training_pass.labels
        if self.class_of == "random":
            classes = torch.randint_like(classes, training_pass.logits.shape[1])
        return self.of_cams(self.cams(training_pass, classes), training_pass.boxes, training_pass.masks)

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

    def extra_repr(self) -> str:
        """Settings, for printing."""
        return f"{super().extra_repr()}, annotation={self.annotation!r}, class_of={self.class_of!r}"


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
