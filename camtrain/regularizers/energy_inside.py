"""Energy loss: the share of a map that is not on the object."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from camtrain.regularizers.map_regularizer import MapRegularizer
from camtrain.regularizers.regularizer import Penalty


def energy_outside(cams: Tensor, regions: Tensor) -> Penalty:
    """Share of each map's positive energy outside the region, one minus that of the energy pointing game.

        E_i = 1 - Σ_region A⁺ / Σ A⁺

    Args:
        cams: (N, H, W), raw.
        regions: (N, H, W) bool.

    Returns:
        (N,) in [0, 1]; not counted where the region is empty or the map has no positive value.

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
    """Pulls the positive energy of the map onto the object; see `energy_outside` for the formula.

    It says nothing of how the energy is spread on the object, which need not be filled, and coarse boxes do little
    harm. Departure from the paper: a map without any positive value does not count; there its loss is 1.

    Args:
        method: see `MapRegularizer`.
        target_layer: see `MapRegularizer`.
        annotation: see `MapRegularizer`.
        class_of: see `MapRegularizer`.

    Source:
        Rao et al., Studying How to Efficiently and Effectively Guide Models with Explanations, ICCV 2023,
        arXiv 2303.11932, section 3.2.

    Example:
        >>> EnergyInside()(torch.ones(1, 2, 2), torch.tensor([[[True, False], [False, False]]])).values
        tensor([0.7500])
    """

    needs_annotation: ClassVar[bool] = True

    def forward(self, cams: Tensor, regions: Tensor | None = None) -> Penalty:
        """See `MapRegularizer`."""
        assert regions is not None
        return energy_outside(cams, regions)
