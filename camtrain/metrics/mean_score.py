"""The mean over images of a score that each image has by itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from camtrain.metrics.additive_score import AdditiveScore


class MeanScore(AdditiveScore):
    """The mean of one number per image.

    A subclass defines `scores` and `update`, with the same arguments. A row is [score, 1]. An image whose score is NaN
    is not counted: its row is [0, 0].

    Args:
        kwargs: Passed on to `AdditiveScore` and `torchmetrics.Metric`.

    Example:
        >>> class MeanMaximum(MeanScore):
        ...     def update(self, cams: Tensor) -> None:
        ...         super().update(cams)
        ...
        ...     def scores(self, cams: Tensor) -> Tensor:
        ...         return cams.flatten(1).amax(dim=1)
        >>> MeanMaximum()(torch.tensor([[[0.0, 1.0]], [[0.5, 0.0]]]))
        tensor(0.7500)
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(row_length=2, **kwargs)

    def scores(self, *args: Any, **kwargs: Any) -> Tensor:
        """The score of each image, (N,); NaN for images that are not counted."""
        raise NotImplementedError

    def rows(self, *args: Any, **kwargs: Any) -> Tensor:
        """[score, 1] of each image, (N, 2); the arguments are those of `update`."""
        scores = self.scores(*args, **kwargs)
        counted = ~scores.isnan()
        return torch.stack([torch.where(counted, scores, 0.0), counted.to(scores)], dim=1)

    def value(self, total: Tensor) -> Tensor:
        """The mean score of the counted images."""
        return total[..., 0] / total[..., 1]

    @property
    def counted(self) -> Tensor:
        """The number of images that have a score, 0-dim int64."""
        return self.total[1].long()
