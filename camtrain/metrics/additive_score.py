"""What every score has in common: how it adds up over images, batches and processes."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


class AdditiveScore(Metric):
    """A score of a set of images that depends on them only through the sum of one row of numbers per image.

        score = value(Σ_i row_i)

    That one fact serves all that is asked of a score. Batches and processes are merged by adding their sums. The score
    of a single image is that of the set which holds it alone. A bootstrap weights the rows anew, an interrupted
    evaluation goes on from the rows that it has, and two networks are compared image by image.

    A subclass gives `rows`, whose arguments are those of `update`, and `value`.

    Args:
        row_length: S, numbers in a row.
        kwargs: passed on to `torchmetrics.Metric`.

    Attributes:
        total: (S,) float64, the sum of all rows.

    Example:
        >>> class MeanValue(AdditiveScore):
        ...     def __init__(self) -> None:
        ...         super().__init__(row_length=2)
        ...
        ...     def rows(self, values: Tensor) -> Tensor:
        ...         return torch.stack([values, torch.ones_like(values)], dim=1)
        ...
        ...     def value(self, total: Tensor) -> Tensor:
        ...         return total[..., 0] / total[..., 1]
        >>> score = MeanValue()
        >>> score.update(torch.tensor([1.0, 2.0]))
        >>> score.update(torch.tensor([6.0]))
        >>> score.compute()
        tensor(3.)
    """

    is_differentiable = False
    full_state_update = False

    total: Tensor

    def __init__(self, row_length: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("total", default=torch.zeros(row_length, dtype=torch.float64), dist_reduce_fx="sum")

    @abstractmethod
    def rows(self, *args: Any, **kwargs: Any) -> Tensor:
        """One row per image, (N, S); what an image contributes does not depend on the others."""

    @abstractmethod
    def value(self, total: Tensor) -> Tensor:
        """The score of sums of rows, (..., S) to (...), float64; NaN where no image was counted."""

    def image_scores(self, rows: Tensor) -> Tensor:
        """The score of each image, (N,), from the rows (N, S) of all of them; NaN for those that are not counted."""
        return self.value(rows.double())

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Count a batch; the arguments are those of `rows`."""
        self.total += self.rows(*args, **kwargs).detach().double().sum(dim=0).to(self.total)

    def compute(self) -> Tensor:
        """The score of all images counted so far, 0-dim float32; NaN if there are none."""
        return self.value(self.total).float()
