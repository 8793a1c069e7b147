"""The mean over images of a score that each image has by itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from camtrain.metrics.additive_score import AdditiveScore


class MeanScore(AdditiveScore):
    """The mean of one number per image; a subclass gives `scores`, whose arguments are those of `update`.

    Rows are [score, 1], and zeros for images whose score is NaN, which are not counted.

    Args:
        kwargs: passed on to `torchmetrics.Metric`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(row_length=2, **kwargs)

    def scores(self, *args: Any, **kwargs: Any) -> Tensor:
        """(N,), NaN for images that are not counted."""
        raise NotImplementedError

    def rows(self, *args: Any, **kwargs: Any) -> Tensor:
        """[score, 1] of each image, (N, 2)."""
        scores = self.scores(*args, **kwargs)
        counted = ~scores.isnan()
        return torch.stack([torch.where(counted, scores, 0.0), counted.to(scores)], dim=1)

    def value(self, total: Tensor) -> Tensor:
        """The mean score of the counted images."""
        return total[..., 0] / total[..., 1]

    @property
    def counted(self) -> Tensor:
        """Images that have a score, 0-dim int64."""
        return self.total[1].long()
