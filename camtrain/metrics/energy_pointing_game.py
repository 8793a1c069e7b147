"""How much of a map lies on the annotated object."""

from __future__ import annotations

import sys

import torch
from torch import Tensor

from camtrain.metrics.region_score import RegionScore, check_maps


def energy_in_region(cams: Tensor, regions: Tensor) -> Tensor:
    """Share of each map's energy that lies in the region of the object.

        Proportion = Σ_region map / Σ map

    It does not depend on the scale of the map. A map that is the same everywhere scores the area of the region, as a
    share of the image: that is the baseline to beat. Departure from the paper: the region may be a mask or the union
    of several boxes.

    Args:
        cams: (N, H, W) non-negative maps at the size of the images.
        regions: (N, H, W) bool, true on the object.

    Returns:
        (N,) in [0, 1], higher is better; 0 for a map that is zero everywhere, NaN where the region is empty.

    Raises:
        ValueError: if a map holds NaN, infinities or negative values (energy below zero has no share; decide with
            `relu()` or `camtrain.cams.normalize` what it should mean), or the shapes differ.

    Source:
        Wang et al., Score-CAM, CVPR workshops 2020, arXiv 1910.01279, section 4.3.

    Example:
        >>> cam = torch.tensor([[[3.0, 0.0], [1.0, 0.0]]])
        >>> top_row = torch.tensor([[[True, True], [False, False]]])
        >>> energy_in_region(cam, top_row)
        tensor([0.7500])
    """
    check_maps(cams, regions, 0.0, sys.float_info.max, "apply relu() or camtrain.cams.normalize first")
    total = cams.flatten(1).sum(dim=1, dtype=torch.float64)
    inside = (cams * regions).flatten(1).sum(dim=1, dtype=torch.float64)
    share = (inside / torch.where(total > 0, total, 1.0)).to(torch.promote_types(cams.dtype, torch.float32))
    return torch.where(regions.flatten(1).any(dim=1), share, torch.nan)


class EnergyPointingGame(RegionScore):
    """Mean share of the maps' energy on the annotated objects, the energy-based pointing game of Score-CAM.

    See `energy_in_region` for the formula and its source, `RegionScore` for who is counted. The property `area` is the
    baseline beside it: what a map that is the same everywhere would score on these images.

    Args:
        kwargs: passed on to `torchmetrics.Metric`.

    Example:
        >>> metric = EnergyPointingGame()
        >>> boxes = [torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.zeros(0, 4)]
        >>> metric.update(torch.eye(4).expand(2, 4, 4), boxes)
        >>> metric.compute(), metric.area, metric.without_annotation
        (tensor(0.5000), tensor(0.2500), tensor(1))
    """

    def scores(self, cams: Tensor, regions: Tensor) -> Tensor:
        """See `energy_in_region`."""
        return energy_in_region(cams, regions)
