"""The L1 distance of a map and the object's region."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from camtrain.regularizers.map_regularizer import MapRegularizer
from camtrain.regularizers.normalized_maps import positive_by_maximum
from camtrain.regularizers.regularizer import Penalty


class MapL1(MapRegularizer):
    """Pulls the map to 1 on the object and to 0 elsewhere.

        E_i = 1/(HW) Σ |M - A⁺ / max A⁺|

    The map has to fill the object uniformly. For a flat map see `MapRegularizer`.

    Args:
        method: The method that makes the map, such as `grad_cam` or `layer_cam`; or `input_gradient`.
        target_layer: The layer of the map, by its dotted name; null is the last spatial layer.
        annotation: Where the object is: `masks`, `boxes`, or `any`: masks where an image has one, otherwise its boxes.
        class_of: The class whose map is penalized: `label`; `every_label`, each class that the image shows, if there
            may be several; or `random`, drawn for each image in each step.

    Source:
        Gao et al., Aligning Eyes between Humans and Deep Neural Network through Interactive Attention Alignment
        (GRADIA), CSCW 2022, arXiv 2202.02838, and Rao et al., ICCV 2023, arXiv 2303.11932, section 3.2.

    Example:
        >>> import torch
        >>> MapL1()(torch.tensor([[[4.0, 1.0]]]), torch.tensor([[[True, False]]])).values
        tensor([0.1250])
    """

    needs_annotation: ClassVar[bool] = True
    trained_metrics: ClassVar[tuple[str, ...]] = ("energy_pointing_game", "localization_iou_25")

    def forward(self, cams: Tensor, regions: Tensor | None = None) -> Penalty:
        """See `MapRegularizer`."""
        assert regions is not None
        maps, alive = positive_by_maximum(cams)
        distance = (maps - regions.to(maps.dtype)).abs().flatten(1).mean(dim=1)
        return Penalty(distance, alive & regions.flatten(1).any(dim=1))
