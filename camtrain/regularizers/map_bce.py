"""Per-pixel cross-entropy of a map and the object's region."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from camtrain.regularizers.annotated_regions import AnnotationKind
from camtrain.regularizers.map_regularizer import ClassOf, MapRegularizer
from camtrain.regularizers.normalized_maps import positive_by_maximum
from camtrain.regularizers.regularizer import Penalty


class MapBCE(MapRegularizer):
    """Pulls the map to 1 on the object (PPCE), and on demand to 0 elsewhere.

        E_i = -1/|M| Σ_M log Â,    Â = A⁺ / max A⁺
        E_i = -1/(HW) Σ (M log Â + (1 - M) log(1 - Â))    with `outside`

    As in the paper the first form says nothing of what is outside: a map that is the same everywhere has no loss. A map
    without a positive value does not count. Departure: Â is brought to [floor, 1 - floor] linearly, without which the
    gradient at zero has no bound (torch's own bound is 10¹²).

    Args:
        method: see `MapRegularizer`.
        target_layer: see `MapRegularizer`.
        annotation: see `MapRegularizer`.
        class_of: see `MapRegularizer`.
        outside: whether pixels outside the object count.
        floor: smallest value that the logarithm is taken of, in [1e-6, 0.5).

    Raises:
        ValueError: if `floor` is out of its range.

    Source:
        Shen et al., Human-AI Interactive and Continuous Sensemaking (HAICS), IUI 2021, and Rao et al., ICCV 2023,
        arXiv 2303.11932, section 3.2.

    Example:
        >>> MapBCE(floor=1e-6)(torch.tensor([[[4.0, 1.0, 3.0]]]), torch.tensor([[[True, True, False]]])).values
        tensor([0.6931])
    """

    needs_annotation: ClassVar[bool] = True

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
        if not 1e-6 <= floor < 0.5:  # less is lost beside 1 in float32
            raise ValueError(f"`floor`: expected a number of at least 1e-6 and below 0.5, got {floor}")
        self.outside = outside
        self.floor = floor

    def forward(self, cams: Tensor, regions: Tensor | None = None) -> Penalty:
        """See `MapRegularizer`."""
        assert regions is not None
        maps, alive = positive_by_maximum(cams)
        shares = self.floor + (1 - 2 * self.floor) * maps
        weights = regions.to(maps.dtype)
        annotated = regions.flatten(1).any(dim=1)
        inside = -(weights * shares.log()).flatten(1)
        if self.outside:
            each = (inside - ((1 - weights) * torch.log1p(-shares)).flatten(1)).mean(dim=1)
        else:
            each = inside.sum(dim=1) / weights.flatten(1).sum(dim=1).clamp(min=1)
        return Penalty(each, alive & annotated)
