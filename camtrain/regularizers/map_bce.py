"""The cross-entropy of a map and the object's region, pixel by pixel."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from camtrain.messages import checked_number
from camtrain.regularizers.annotated_regions import AnnotationKind
from camtrain.regularizers.map_regularizer import ClassOf, MapRegularizer
from camtrain.regularizers.normalized_maps import positive_by_maximum
from camtrain.regularizers.regularizer import Penalty


class MapBCE(MapRegularizer):
    """Pulls the map to 1 on the object (PPCE), and on request to 0 elsewhere.

        E_i = -1/|M| Σ_M log Â,    Â = A⁺ / max A⁺
        E_i = -1/(HW) Σ (M log Â + (1 - M) log(1 - Â))    with `outside`

    As in the paper, the first form ignores the pixels outside: a map that is the same everywhere has no loss. For
    a flat map see `MapRegularizer`. Departure: Â is scaled linearly to [floor, 1 - floor], because the gradient
    at zero is otherwise unbounded (torch bounds it at 10¹²).

    Args:
        method: The method that makes the map, such as `grad_cam` or `layer_cam`; or `input_gradient`.
        target_layer: The layer of the map, by its dotted name; null is the last spatial layer.
        annotation: Where the object is: `masks`, `boxes`, or `any`: masks where an image has one, otherwise its boxes.
        class_of: The class whose map is penalized: `label`; `every_label`, each class that the image shows, if there
            may be several; or `random`, drawn for each image in each step.
        outside: Whether pixels outside the object count.
        floor: The smallest value of which the logarithm is taken, in [1e-6, 0.5).

    Raises:
        ValueError: If `floor` is out of its range.

    Source:
        Shen et al., Human-AI Interactive and Continuous Sensemaking (HAICS), CHI 2021 Extended Abstracts, and Rao et
        al., ICCV 2023, arXiv 2303.11932, section 3.2.

    Example:
        >>> MapBCE(floor=1e-6)(torch.tensor([[[4.0, 1.0, 3.0]]]), torch.tensor([[[True, True, False]]])).values
        tensor([0.6931])
    """

    needs_annotation: ClassVar[bool] = True
    trained_metrics: ClassVar[tuple[str, ...]] = ("energy_pointing_game", "localization_iou_25")

    def __init__(
        self,
        method: str = "grad_cam",
        target_layer: str | list[str] | None = None,
        annotation: AnnotationKind = "any",
        class_of: ClassOf = "label",
        outside: bool = False,
        floor: float = 1e-3,
    ) -> None:
        super().__init__(method, target_layer, annotation, class_of)
        self.outside = outside
        # A smaller one is lost beside 1 in float32.
        in_words = "a number of at least 1e-6 and below 0.5"
        self.floor = checked_number("floor", floor, in_words, at_least=1e-6, below=0.5)

    def forward(self, cams: Tensor, regions: Tensor | None = None) -> Penalty:
        """See `MapRegularizer`."""
        assert regions is not None
        maps, alive = positive_by_maximum(cams)
        scaled = self.floor + (1 - 2 * self.floor) * maps
        weights = regions.to(maps.dtype)
        annotated = regions.flatten(1).any(dim=1)
        inside = -(weights * scaled.log()).flatten(1)
        if self.outside:
            each = (inside - ((1 - weights) * torch.log1p(-scaled)).flatten(1)).mean(dim=1)
        else:
            each = inside.sum(dim=1) / weights.flatten(1).sum(dim=1).clamp(min=1)
        return Penalty(each, alive & annotated)
