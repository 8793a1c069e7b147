"""Energy loss: the fraction of a map that is not on the object."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from camtrain.regularizers.map_regularizer import MapRegularizer
from camtrain.regularizers.regularizer import Penalty


def energy_outside(cams: Tensor, regions: Tensor) -> Penalty:
    """Fraction of each map's positive energy outside the region: one minus the score of the energy pointing game.

        E_i = 1 - Σ_region A⁺ / Σ A⁺

    Args:
        cams: (N, H, W), raw.
        regions: (N, H, W) bool.

    Returns:
        (N,) in [0, 1]. Images with an empty region or a map without a positive value are marked as not counted.

    Example:
        >>> energy_outside(torch.tensor([[[3.0, 1.0, -9.0]]]), torch.tensor([[[True, False, False]]])).values
        tensor([0.2500])
    """
    energy = cams.relu()
    total = energy.flatten(1).sum(dim=1)
    alive = ~(total <= torch.finfo(cams.dtype).tiny)
    inside = (energy * regions).flatten(1).sum(dim=1)
    return Penalty(1 - inside / torch.where(alive, total, 1.0), alive & regions.flatten(1).any(dim=1))


class EnergyInside(MapRegularizer):
    """Pulls the positive energy of the map onto the object.

        E_i = 1 - Σ_object A⁺ / Σ A⁺

    The energy may be spread over the object in any way; the map need not fill it, so that coarse boxes do little harm,
    as the paper reports. A flat map has the loss 1, as in the paper, and with Grad-CAM a
    gradient that raises it (see `MapRegularizer`).

    Args:
        method: The method that makes the map, such as `grad_cam` or `layer_cam`; or `input_gradient`.
        target_layer: The layer of the map, by its dotted name; null is the last spatial layer.
        annotation: Where the object is: `masks`, `boxes`, or `any`: masks where an image has one, otherwise its boxes.
        class_of: The class whose map is penalized: `label`; `every_label`, each class that the image shows, if there
            may be several; or `random`, drawn for each image in each step.

    Source:
        Rao et al., Studying How to Efficiently and Effectively Guide Models with Explanations, ICCV 2023,
        arXiv 2303.11932, section 3.2.

    Example:
        >>> EnergyInside()(torch.ones(1, 2, 2), torch.tensor([[[True, False], [False, False]]])).values
        tensor([0.7500])
    """

    needs_annotation: ClassVar[bool] = True
    trained_metrics: ClassVar[tuple[str, ...]] = ("energy_pointing_game",)

    def forward(self, cams: Tensor, regions: Tensor | None = None) -> Penalty:
        """See `MapRegularizer`."""
        assert regions is not None
        return energy_outside(cams, regions)
