"""The area of a map."""

from __future__ import annotations

from torch import Tensor

from camtrain.regularizers.map_regularizer import MapRegularizer
from camtrain.regularizers.normalized_maps import positive_by_maximum
from camtrain.regularizers.regularizer import Penalty


class MapSparsity(MapRegularizer):
    """Penalizes the area of the map: the mean of its positive part, relative to its largest value.

        E_i = 1/(HW) Σ A⁺ / max A⁺

    A map without a positive value does not count. Needs no annotation.

    Args:
        method: see `MapRegularizer`.
        target_layer: see `MapRegularizer`.
        annotation: `any`; it looks at none.
        class_of: see `MapRegularizer`.

    Source:
        The area of a mask as in Fong and Vedaldi, ICCV 2017, arXiv 1704.03296, eq. 3.

    Example:
        >>> import torch
        >>> MapSparsity()(torch.tensor([[[4.0, 2.0]]])).values
        tensor([0.7500])
    """

    def forward(self, cams: Tensor, regions: Tensor | None = None) -> Penalty:
        """See `MapRegularizer`."""
        maps, alive = positive_by_maximum(cams)
        return Penalty(maps.flatten(1).mean(dim=1), alive)
