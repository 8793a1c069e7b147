"""The base of penalties on each image's map."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from camtrain.attributions.saliency_map import saliency_map
from camtrain.regularizers.annotated_regions import AnnotationKind, check_annotation_kind, regions_like
from camtrain.regularizers.cam_regularizer import CAMRegularizer
from camtrain.regularizers.flat_maps import REVIVAL, answered_for_flat_maps, is_flat
from camtrain.regularizers.input_gradient_regularizer import ExplainedScalar, InputGradientRegularizer
from camtrain.regularizers.pass_regularizer import TrainingPass
from camtrain.regularizers.regularizer import Penalty, as_penalty

ClassOf = Literal["label", "every_label", "random"]


class MapRegularizer(CAMRegularizer):
    """L_R as the mean of a penalty on each image's map, at the size of the images.

    `CAMRegularizer` says where the maps come from. With `method: input_gradient` the map is the saliency map of the
    input gradient, and an engine takes the gradient of the penalty to the parameters.

    No penalty can be evaded by a flat map, one without a positive value, if `forward` marks flat maps as not counted,
    as those of camtrain do: such a map has the penalty 1, and with Grad-CAM and XGrad-CAM a gradient that raises it on
    the object, or everywhere for a penalty that needs no annotation (see `camtrain.regularizers.flat_maps`). Their
    fraction is logged as `train/flat_maps/<term>`.

    A subclass implements `forward`, and sets `needs_annotation = True` to be told where the object is.

    Args:
        method: The method that makes the map: a name in `camtrain.methods.METHODS` that can be trained through, or
            `input_gradient`.
        target_layer: The layer of the map, by its dotted name, or several names for a method that fuses layers; null is
            the last layer with pixels or tokens.
        annotation: Where the object is, for penalties that need it: `masks`, `boxes`, or `any`: masks where an image
            has one, otherwise its boxes. Several boxes count as their union.
        class_of: The class whose map is penalized: `label`, or `random`, drawn for each image in each step.
            Pixels outside the object can speak for the label by speaking against all other classes. The label's own map
            does not show that; the maps of other classes do. If images show several classes, `label` draws one of them
            for each image in each step, and `every_label` penalizes the map of each of them, and takes the mean over
            those that count; a step then costs as many maps as an image shows classes at most.

    Raises:
        ValueError: If there is no such method, it cannot be trained through, `annotation` or `class_of` has no such
            value, an annotation is chosen for a penalty that needs none, or `class_of` is not label for the input
            gradient.
    """

    takes_input_gradient: ClassVar[bool] = True
    revives_flat_maps: ClassVar[bool] = True
    flat_map_revival: ClassVar[float] = REVIVAL
    """The size of the gradient that raises a flat map; in proportion to the usual size of the penalty."""

    def __init__(
        self,
        method: str = "grad_cam",
        target_layer: str | list[str] | None = None,
        annotation: AnnotationKind = "any",
        class_of: ClassOf = "label",
    ) -> None:
        super().__init__(method, target_layer)
        check_annotation_kind(annotation)
        if annotation != "any" and not self.needs_annotation:
            raise ValueError(
                f"`annotation`: expected any, because {type(self).__name__} ignores annotation, got {annotation!r}"
            )
        if class_of not in get_args(ClassOf):
            raise ValueError(f"`class_of`: expected one of {get_args(ClassOf)}, got {class_of!r}")
        if class_of != "label" and method == "input_gradient":
            raise ValueError(
                f"`class_of`: expected label for the input gradient, got {class_of}; see RightForRightReasons"
            )
        self.annotation: AnnotationKind = annotation
        self.class_of: ClassOf = class_of

    @abstractmethod
    def forward(self, cams: Tensor, regions: Tensor | None = None) -> Tensor | Penalty:
        """The penalty of each image.

        Args:
            cams: (N, H, W) raw maps at the size of the images, at least float32.
            regions: (N, H, W) bool, true on the object, and false everywhere if its place is unknown; `None` unless
                `needs_annotation`.

        Returns:
            A `Penalty` in which flat maps do not count; `of_cams` gives them the penalty 1. Or values alone, (N,), if
            no map can have a low penalty by being flat: then every map counts as it is.
        """

    @property
    def needs_class(self) -> bool:
        """See `Regularizer`."""
        return self.class_of != "random"

    @property
    def looks_at(self) -> AnnotationKind | None:
        """See `Regularizer`."""
        return self.annotation if self.needs_annotation else None

    def penalty(self, training_pass: TrainingPass) -> Tensor | Penalty:
        """The penalty of the maps of the training pass."""
        if self.class_of == "every_label" and training_pass.shown is not None:
            return self._of_every_label(training_pass, training_pass.shown)
        classes = training_pass.labels
        if self.class_of == "random":
            classes = torch.randint_like(classes, max(2, training_pass.logits.shape[1]))
        return self._of_classes(training_pass, classes)

    def _of_classes(self, training_pass: TrainingPass, classes: Tensor) -> Penalty:
        return self.of_cams(self.cams(training_pass, classes), training_pass.boxes, training_pass.masks)

    def _of_every_label(self, training_pass: TrainingPass, shown: Tensor) -> Penalty:
        """The mean penalty of each image over the maps of the classes that it shows."""
        # The classes of each image that it shows come first. At least one map, so that there is a penalty with a graph.
        ranked = shown.int().argsort(dim=1, descending=True, stable=True)
        rounds = max(1, int(shown.sum(dim=1).max()))
        found = [
            (self._of_classes(training_pass, ranked[:, place]), shown.gather(1, ranked[:, [place]]).squeeze(1))
            for place in range(rounds)
        ]
        values = torch.stack([penalty.values for penalty, _ in found])
        counted = torch.stack([penalty.counted & is_shown for penalty, is_shown in found])
        total = torch.where(counted, values, torch.zeros_like(values)).sum(dim=0)
        number = counted.sum(dim=0)
        flats = [penalty.flat & is_shown for penalty, is_shown in found if penalty.flat is not None]
        flat = torch.stack(flats).any(dim=0) if flats else None
        return Penalty(total / number.clamp(min=1), number > 0, flat)

    def of_cams(self, cams: Tensor, boxes: list[Tensor] | None, masks: Tensor | None) -> Penalty:
        """The penalty of maps, (N, H, W), with the boxes and masks of the batch.

        If the penalty needs annotation, images without one do not count, whatever `forward` says. Of the others, those
        that `forward` does not count and that have no positive value are flat.
        """
        regions = regions_like(cams, boxes, masks, self.annotation) if self.needs_annotation else None
        found = as_penalty(self(cams) if regions is None else self(cams, regions))
        annotated = torch.ones_like(found.counted) if regions is None else regions.flatten(1).any(dim=1)
        flat = is_flat(cams) & ~found.counted & annotated
        counted = Penalty(found.values, found.counted & annotated)
        return answered_for_flat_maps(counted, cams, flat, regions, self.flat_map_revival)

    def on_input_gradient(self) -> InputGradientRegularizer | None:
        """The same penalty as one on the input gradient, for an engine; `None` if `method` is another."""
        return _OnInputGradient(self) if self.method == "input_gradient" else None

    def extra_repr(self) -> str:
        """Settings, for printing."""
        return f"{super().extra_repr()}, annotation={self.annotation!r}, class_of={self.class_of!r}"


class _OnInputGradient(InputGradientRegularizer):
    """A penalty on the saliency map max_c |∂y/∂x_c| of the label's logit y, as one on the input gradient."""

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
