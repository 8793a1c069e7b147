"""A penalty on the area of a map."""

from __future__ import annotations

from torch import Tensor

from camtrain.regularizers.map_regularizer import MapRegularizer
from camtrain.regularizers.normalized_maps import positive_by_maximum
from camtrain.regularizers.regularizer import Penalty


class MapSparsity(MapRegularizer):
    """Penalizes the area of the map, the mean of its positive part relative to its largest value.

        E_i = 1/(HW) Σ A⁺ / max A⁺

    Needs no annotation. For a flat map see `MapRegularizer`.

    Args:
        method: The method that makes the map, such as `grad_cam` or `layer_cam`; or `input_gradient`.
        target_layer: The layer of the map, by its dotted name; null is the last spatial layer.
        annotation: Always `any`; this penalty ignores annotation.
        class_of: The class whose map is penalized: `label`; `every_label`, each class that the image shows, if there
            may be several; or `random`, drawn for each image in each step.

    Source:
        The area of a mask in Fong and Vedaldi, ICCV 2017, arXiv 1704.03296, eq. 3.

    Example:
        >>> import torch
        >>> MapSparsity()(torch.tensor([[[4.0, 2.0]]])).values
        tensor([0.7500])
    """

    def forward(self, cams: Tensor, regions: Tensor | None = None) -> Penalty:
        """See `MapRegularizer`."""
        maps, alive = positive_by_maximum(cams)
        return Penalty(maps.flatten(1).mean(dim=1), alive)
