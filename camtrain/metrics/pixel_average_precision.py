"""How well a map separates the pixels of the object from the others, at all thresholds."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from camtrain.metrics.additive_score import AdditiveScore
from camtrain.metrics.region_score import check_maps
from camtrain.positive_integer import positive_integer


class PixelAveragePrecision(AdditiveScore):
    """Area under the precision-recall curve of all pixels of all images: PxAP, higher is better.

        PxAP = Σ_l Prec(τ_l) (Rec(τ_l) - Rec(τ_(l-1)))

    Thresholds τ fall from 1 to 0; precision and recall are those of the pixels of all images together, so that a map is
    also asked to be as high on one image as on another. A map at random scores the share of the objects' pixels, and a
    mask itself 1. Images without a mask are not counted.

    Args:
        num_thresholds: steps between 0 and 1.
        kwargs: passed on to `torchmetrics.Metric`.

    Raises:
        ValueError: if `num_thresholds` is no positive integer.

    Source:
        Choe et al., Evaluating Weakly Supervised Object Localization Methods Right, CVPR 2020, arXiv 2001.07437,
        section 4.1, and the authors' code.

    Example:
        >>> metric = PixelAveragePrecision()
        >>> metric(torch.tensor([[[0.9, 0.8, 0.1, 0.2]]]), torch.tensor([[[True, False, True, False]]]))
        tensor(0.7500)
    """

    higher_is_better = True

    def __init__(self, num_thresholds: int = 1000, **kwargs: Any) -> None:
        # A step for each threshold, and one for the value 1 itself.
        super().__init__(row_length=2 * (positive_integer("num_thresholds", num_thresholds) + 1), **kwargs)
        self.num_thresholds = num_thresholds

    def rows(self, cams: Tensor, masks: Tensor, ignored: Tensor | None = None) -> Tensor:
        """How many pixels beside and on the object have each value, (N, 2 (num_thresholds + 1)).

        Args:
            cams: (N, H, W) maps in [0, 1], at the size of the images.
            masks: (N, H, W) bool, true on the object.
            ignored: (N, H, W) bool, true where nobody knows whether there is an object; `None` ignores nothing.

        Raises:
            ValueError: if the shapes differ, or a map leaves [0, 1].
        """
        check_maps(cams, masks, -1e-6, 1 + 1e-6, "normalize the maps first (camtrain.cams.normalize)")
        if ignored is not None and (ignored.shape != cams.shape or ignored.dtype != torch.bool):
            raise ValueError(
                f"`ignored`: expected bool {tuple(cams.shape)}, got {ignored.dtype} {tuple(ignored.shape)}"
            )
        histograms = torch.zeros(len(cams), len(self.total), dtype=torch.float64, device=cams.device)
        # Image by image, what is between stays in the cache: ten times as fast as all of them at once.
        for index in masks.flatten(1).any(dim=1).nonzero().flatten().tolist():
            places = (cams[index].double() * self.num_thresholds).long().clamp_(0, self.num_thresholds)
            places.add_(masks[index], alpha=self.num_thresholds + 1)
            counted = places.flatten() if ignored is None else places[~ignored[index]]
            histograms[index] = torch.bincount(counted, minlength=len(self.total))
        return histograms

    def value(self, total: Tensor) -> Tensor:
        """The area of sums of histograms."""
        beside, on = total.reshape(*total.shape[:-1], 2, -1).flip(-1).cumsum(dim=-1).unbind(dim=-2)
        precision = on / (beside + on)
        recall = on / on[..., -1:]
        gained = recall.diff(dim=-1, prepend=torch.zeros_like(recall[..., :1]))
        # Above the largest value there are no pixels, and no precision.
        area = (precision.nan_to_num(0.0) * gained).sum(dim=-1)
        return torch.where(on[..., -1] > 0, area, torch.nan)
