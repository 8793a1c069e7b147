"""How much of a map's energy lies on the annotated object."""

from __future__ import annotations

import sys

import torch
from torch import Tensor

from camtrain.metrics.checked import check_shape, check_values, checked_tensor
from camtrain.metrics.region_score import RegionScore


def energy_in_region(cams: Tensor, regions: Tensor) -> Tensor:
    """The fraction of each map's energy that lies in the region of the object.

        Proportion = Σ_region map / Σ map

    The fraction does not depend on the scale of the map. A constant map scores the fraction of the image that the
    region covers: that is the baseline to beat. Departure from the paper: the region may be a mask or the union of
    several boxes.

    Args:
        cams: (N, H, W) non-negative maps at the size of the images.
        regions: (N, H, W) bool, true on the object.

    Returns:
        (N,) in [0, 1], higher is better; 0 for a map that is zero everywhere, NaN where the region is empty.

    Raises:
        TypeError: If an argument is no tensor.
        ValueError: If a map holds NaN, infinities or negative values, or the shapes differ. Negative energy has no
            meaning here: decide with `relu()` or `camtrain.cams.normalize` what it should count as.

    Source:
        Wang et al., Score-CAM, CVPR workshops 2020, arXiv 1910.01279, section 4.3.

    Example:
        >>> cam = torch.tensor([[[3.0, 0.0], [1.0, 0.0]]])
        >>> top_row = torch.tensor([[[True, True], [False, False]]])
        >>> energy_in_region(cam, top_row)
        tensor([0.7500])
    """
    maps, truth = checked_tensor("cams", cams, "N, H, W"), checked_tensor("regions", regions, "N, H, W", "bool")
    check_shape("regions", truth, "cams", maps)
    remedy = "apply relu() or camtrain.cams.normalize first"
    check_values("cams", maps, 0.0, sys.float_info.max, "finite values of at least 0", remedy)
    total = maps.flatten(1).sum(dim=1, dtype=torch.float64)
    inside = (maps * truth).flatten(1).sum(dim=1, dtype=torch.float64)
    share = (inside / torch.where(total > 0, total, 1.0)).to(torch.promote_types(maps.dtype, torch.float32))
    return torch.where(truth.flatten(1).any(dim=1), share, torch.nan)


class EnergyPointingGame(RegionScore):
    """The energy-based pointing game of Score-CAM: the mean fraction of the maps' energy on the annotated objects.

    See `energy_in_region` for the formula and its source, and `RegionScore` for which images count. The property `area`
    is the baseline: the score of a constant map on these images.

    Args:
        kwargs: Passed on to `torchmetrics.Metric`.

    Example:
        >>> metric = EnergyPointingGame()
        >>> boxes = [torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.zeros(0, 4)]
        >>> metric.update(torch.eye(4).expand(2, 4, 4), boxes)
        >>> metric.compute(), metric.area, metric.without_annotation
        (tensor(0.5000), tensor(0.2500), tensor(1))
    """

    def scores(self, cams: Tensor, regions: Tensor) -> Tensor:
        """The fraction of each map's energy in the region (see `energy_in_region`)."""
        return energy_in_region(cams, regions)
