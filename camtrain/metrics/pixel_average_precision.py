"""How well a map separates the pixels of the object from the others, at all thresholds."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from camtrain.messages import positive_integer
from camtrain.metrics.additive_score import AdditiveScore
from camtrain.metrics.checked import check_shape, checked_tensor, checked_unit_maps


class PixelAveragePrecision(AdditiveScore):
    """PxAP: the area under the precision-recall curve of all pixels of all images; higher is better.

        PxAP = Σ_l Prec(τ_l) (Rec(τ_l) - Rec(τ_(l-1)))

    The thresholds τ fall from 1 to 0. Precision and recall are those of the pixels of all images together, so a map
    must also reach the same values on different images. A random map scores the fraction of pixels that belong to
    objects, and the mask itself scores 1. Images without a mask are not counted.

    Args:
        num_thresholds: The number of steps between 0 and 1.
        kwargs: Passed on to `torchmetrics.Metric`.

    Raises:
        ValueError: If `num_thresholds` is no positive integer.

    Source:
        Choe et al., Evaluating Weakly Supervised Object Localization Methods Right, CVPR 2020, arXiv 2001.07437,
        section 4.1, and the authors' code.

    Example:
        >>> metric = PixelAveragePrecision()
        >>> metric(torch.tensor([[[0.9, 0.8, 0.1, 0.2]]]), torch.tensor([[[True, False, True, False]]]))
        tensor(0.7500)
    """

    higher_is_better = True
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    def __init__(self, num_thresholds: int = 1000, **kwargs: Any) -> None:
        # One step for each threshold, and one for the value 1 itself.
        super().__init__(row_length=2 * (positive_integer("num_thresholds", num_thresholds) + 1), **kwargs)
        self.num_thresholds = num_thresholds

    def update(self, cams: Tensor, masks: Tensor, ignored: Tensor | None = None) -> None:
        """Count a batch.

        Args:
            cams: (N, H, W) maps in [0, 1], at the size of the images.
            masks: (N, H, W) bool, true on the object.
            ignored: (N, H, W) bool, true on pixels that do not count because their label is unknown; `None` counts all.

        Raises:
            TypeError: If an argument is no tensor.
            ValueError: If the shapes differ, masks are not bool, or a map holds NaN or leaves [0, 1].
        """
        super().update(cams, masks, ignored)

    def rows(self, cams: Tensor, masks: Tensor, ignored: Tensor | None = None) -> Tensor:
        """The histograms of the map's values beside and on the object, (N, 2 (num_thresholds + 1)).

        The arguments are those of `update`.
        """
        maps, truth = checked_unit_maps("cams", cams), checked_tensor("masks", masks, "N, H, W", "bool")
        check_shape("masks", truth, "cams", maps)
        if ignored is not None:
            ignored = checked_tensor("ignored", ignored, "N, H, W", "bool")
            check_shape("ignored", ignored, "cams", maps)
        histograms = torch.zeros(len(maps), len(self.total), dtype=torch.float64, device=maps.device)
        # One image at a time, because its intermediate results fit in the cache: ten times as fast as all at once.
        for index in truth.flatten(1).any(dim=1).nonzero().flatten().tolist():
            places = (maps[index].double() * self.num_thresholds).long().clamp_(0, self.num_thresholds)
            places.add_(truth[index], alpha=self.num_thresholds + 1)
            counted = places.flatten() if ignored is None else places[~ignored[index]]
            histograms[index] = torch.bincount(counted, minlength=len(self.total))
        return histograms

    def value(self, total: Tensor) -> Tensor:
        """The area of sums of histograms."""
        beside, on = total.reshape(*total.shape[:-1], 2, -1).flip(-1).cumsum(dim=-1).unbind(dim=-2)
        precision = on / (beside + on)
        recall = on / on[..., -1:]
        gained = recall.diff(dim=-1, prepend=torch.zeros_like(recall[..., :1]))
        # Above the largest value there are no pixels, and precision is 0/0.
        area = (precision.nan_to_num(0.0) * gained).sum(dim=-1)
        return torch.where(on[..., -1] > 0, area, torch.nan)
