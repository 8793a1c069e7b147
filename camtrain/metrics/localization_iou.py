"""Intersection over union of a thresholded map and the annotated object."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from camtrain.messages import checked_number
from camtrain.metrics.checked import check_shape, checked_tensor, checked_unit_maps
from camtrain.metrics.region_score import RegionScore


def localization_iou(cams: Tensor, regions: Tensor, threshold: float = 0.25) -> Tensor:
    """Loc(δ) of each map: intersection over union of {map > δ} and the region of the object.

        Loc(δ) = internal / (region + external)

    where `internal` and `external` are the numbers of pixels above δ inside and outside the region, and `region` is the
    number of pixels in the region. Departure from the paper: the region may be a mask or the union of several boxes.

    Args:
        cams: (N, H, W) maps normalized to [0, 1] (`camtrain.cams.normalize`), at the size of the images.
        regions: (N, H, W) bool, true on the object.
        threshold: δ in [0, 1); the paper uses 0, 0.25 and 0.5.

    Returns:
        (N,) in [0, 1], higher is better; 0 for a map that is zero everywhere, NaN where the region is empty.

    Raises:
        TypeError: If the maps or regions are no tensors, or the threshold is no number.
        ValueError: If a map holds NaN or leaves [0, 1], the shapes differ, or the threshold is out of range.

    Source:
        Chattopadhyay et al., Grad-CAM++, WACV 2018, arXiv 1710.11063, eq. 26.

    Example:
        >>> cam = torch.tensor([[[1.0, 0.8, 0.1], [0.3, 0.0, 0.0]]])
        >>> top_row = torch.tensor([[[True, True, True], [False, False, False]]])
        >>> localization_iou(cam, top_row, threshold=0.25)  # 2 inside, 1 outside, 3 in the region
        tensor([0.5000])
    """
    threshold = checked_number("threshold", threshold, at_least=0, below=1)
    maps, truth = checked_unit_maps("cams", cams), checked_tensor("regions", regions, "N, H, W", "bool")
    check_shape("regions", truth, "cams", maps)
    marked, truth = (maps > threshold).flatten(1), truth.flatten(1)
    internal = (marked & truth).sum(dim=1)
    external = marked.sum(dim=1) - internal
    area = truth.sum(dim=1)
    score = internal / (area + external).clamp(min=1)
    return torch.where(area > 0, score, torch.nan)


class LocalizationIoU(RegionScore):
    """Loc(δ) of Grad-CAM++: mean intersection over union of thresholded maps and annotated objects.

    See `localization_iou` for the formula and its source, and `RegionScore` for which images count.

    Args:
        threshold: δ in [0, 1), on maps normalized to [0, 1].
        kwargs: Passed on to `torchmetrics.Metric`.

    Raises:
        TypeError: If the threshold is no number.
        ValueError: If the threshold is out of range.

    Example:
        >>> metric = LocalizationIoU(threshold=0.5)
        >>> metric(torch.eye(4).unsqueeze(0), [torch.tensor([[0.0, 0.0, 2.0, 2.0]])])  # 2 / (4 + 2)
        tensor(0.3333)
    """

    def __init__(self, threshold: float = 0.25, **kwargs: Any) -> None:
        threshold = checked_number("threshold", threshold, at_least=0, below=1)
        super().__init__(settings=[float(threshold)], **kwargs)
        self.threshold = threshold

    def scores(self, cams: Tensor, regions: Tensor) -> Tensor:
        """Loc(δ) of each map (see `localization_iou`)."""
        return localization_iou(cams, regions, self.threshold)
