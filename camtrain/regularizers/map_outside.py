"""RRR*: a penalty on the square of a map outside the object."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from camtrain.regularizers.map_regularizer import MapRegularizer
from camtrain.regularizers.normalized_maps import by_largest_magnitude
from camtrain.regularizers.regularizer import Penalty


class MapOutside(MapRegularizer):
    """Penalizes the map outside the object, whatever its sign, and ignores the map on the object (RRR*).

        E_i = 1/(HW) Σ ((1 - M) Â)²,    Â = A / max |A|

    Departures from the paper: the mean over the pixels replaces the sum, so that λ does not depend on the size of the
    images. A map that is zero everywhere has the penalty 1 and not 0 (see `MapRegularizer`).

    Args:
        method: The method that makes the map, such as `grad_cam` or `layer_cam`; or `input_gradient`.
        target_layer: The layer of the map, by its dotted name; null is the last spatial layer.
        annotation: Where the object is: `masks`, `boxes`, or `any`: masks where an image has one, otherwise its boxes.
        class_of: The class whose map is penalized: `label`; `every_label`, each class that the image shows, if there
            may be several; or `random`, drawn for each image in each step.

    Source:
        Rao et al., ICCV 2023, arXiv 2303.11932, section 3.2, after Ross et al., IJCAI 2017, arXiv 1703.03717.

    Example:
        >>> import torch
        >>> MapOutside()(torch.tensor([[[4.0, -2.0]]]), torch.tensor([[[True, False]]])).values
        tensor([0.1250])
    """

    needs_annotation: ClassVar[bool] = True
    trained_metrics: ClassVar[tuple[str, ...]] = ("energy_pointing_game",)
    # The mean of squares is about a third of the energy outside, so balanced terms raise it three times as much.
    flat_map_revival: ClassVar[float] = 3.0

    def forward(self, cams: Tensor, regions: Tensor | None = None) -> Penalty:
        """See `MapRegularizer`."""
        assert regions is not None
        maps, alive = by_largest_magnitude(cams)
        outside = maps.masked_fill(regions, 0).square().flatten(1).mean(dim=1)
        return Penalty(outside, alive & regions.flatten(1).any(dim=1))
