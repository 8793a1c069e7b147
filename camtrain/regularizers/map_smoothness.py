"""A penalty on the roughness of a map."""

from __future__ import annotations

from torch import Tensor

from camtrain.regularizers.map_regularizer import MapRegularizer
from camtrain.regularizers.normalized_maps import positive_by_maximum
from camtrain.regularizers.regularizer import Penalty
from camtrain.regularizers.total_variation import total_variation


class MapSmoothness(MapRegularizer):
    """Penalizes the total variation of the map, for fewer and rounder regions.

        E_i = 1/(HW) TV(A⁺ / max A⁺)

    A map that is the same everywhere has no loss. Needs no annotation. For a flat map see `MapRegularizer`.

    Args:
        method: The method that makes the map, such as `grad_cam` or `layer_cam`; or `input_gradient`.
        target_layer: The layer of the map, by its dotted name; null is the last spatial layer.
        annotation: Always `any`; this penalty ignores annotation.
        class_of: The class whose map is penalized: `label`; `every_label`, each class that the image shows, if there
            may be several; or `random`, drawn for each image in each step.

    Source:
        The total variation of Rudin et al., 1992, applied to a map as in Fong and Vedaldi, ICCV 2017, arXiv 1704.03296.

    Example:
        >>> import torch
        >>> MapSmoothness()(torch.tensor([[[4.0, 2.0]]])).values
        tensor([0.2500])
    """

    def forward(self, cams: Tensor, regions: Tensor | None = None) -> Penalty:
        """See `MapRegularizer`."""
        maps, alive = positive_by_maximum(cams)
        pixels = maps.shape[-2] * maps.shape[-1]
        return Penalty(total_variation(maps) / pixels, alive)
