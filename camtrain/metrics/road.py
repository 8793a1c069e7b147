"""Which pixels the class depends on, when those that are removed leave no trace."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from camtrain.metrics.additive_score import AdditiveScore
from camtrain.metrics.probabilities import checked_probabilities
from camtrain.positive_integer import positive_integer


def road(most_relevant_first: Tensor, least_relevant_first: Tensor) -> Tensor:
    """How much more is left of the probability without the least relevant pixels than without the most relevant ones.

        ROAD = 1/P Σ_p (LeRF_p - MoRF_p) / 2

    where MoRF_p and LeRF_p are the probabilities of the explained class on the image without the share p of its most
    and its least relevant pixels, which are imputed (`camtrain.evaluation.imputed.removed_and_imputed`). An order at
    random scores 0.

    Departures from the paper: it compares methods by the accuracy on a data set, at each p and for each order; this is
    one number per image, of probabilities, as pytorch-grad-cam's `ROADCombined` has it.

    Args:
        most_relevant_first: (N, P) probabilities.
        least_relevant_first: (N, P).

    Returns:
        (N,) in [-1/2, 1/2], higher is better.

    Raises:
        ValueError: if they are no probabilities, or not of one shape (N, P).

    Source:
        Rong et al., A Consistent and Efficient Evaluation Strategy for Attribution Methods, ICML 2022, arXiv
        2202.00449.

    Example:
        >>> road(torch.tensor([[0.5, 0.1]]), torch.tensor([[0.9, 0.7]]))
        tensor([0.2500])
    """
    if most_relevant_first.dim() != 2 or least_relevant_first.shape != most_relevant_first.shape:
        shapes = tuple(most_relevant_first.shape), tuple(least_relevant_first.shape)
        raise ValueError(f"`least_relevant_first`: expected (N, P) like `most_relevant_first`, got {shapes}")
    most = checked_probabilities("most_relevant_first", most_relevant_first)
    least = checked_probabilities("least_relevant_first", least_relevant_first)
    return (least - most).mean(dim=1) / 2


class ROAD(AdditiveScore):
    """Remove and debias: mean over images of what is left without irrelevant pixels rather than without relevant ones.

    See `road` for the formula and its source. Higher is better. The two mean curves are `curves`.

    Args:
        num_shares: P, shares of the pixels that are removed.
        kwargs: passed on to `torchmetrics.Metric`.

    Raises:
        ValueError: if `num_shares` is no positive integer.

    Example:
        >>> metric = ROAD(num_shares=2)
        >>> metric(torch.tensor([[0.5, 0.1]]), torch.tensor([[0.9, 0.7]]))
        tensor(0.2500)
        >>> metric.curves
        tensor([[0.5000, 0.1000],
                [0.9000, 0.7000]])
    """

    higher_is_better = True

    def __init__(self, num_shares: int, **kwargs: Any) -> None:
        super().__init__(row_length=2 * positive_integer("num_shares", num_shares) + 2, **kwargs)

    def rows(self, most_relevant_first: Tensor, least_relevant_first: Tensor) -> Tensor:
        """[both curves, score, 1] of each image, (N, 2 P + 2)."""
        score = road(most_relevant_first, least_relevant_first).unsqueeze(1)
        if 2 * most_relevant_first.shape[1] + 2 != len(self.total):
            raise ValueError(f"`most_relevant_first`: expected {len(self.total) // 2 - 1} shares, got "
                             f"{most_relevant_first.shape[1]}")  # fmt: skip
        most = checked_probabilities("most_relevant_first", most_relevant_first)
        least = checked_probabilities("least_relevant_first", least_relevant_first)
        return torch.cat([most, least, score, torch.ones_like(score)], dim=1)

    def value(self, total: Tensor) -> Tensor:
        """The mean score."""
        return total[..., -2] / total[..., -1]

    def mean_curves(self, total: Tensor) -> Tensor:
        """The mean curves of sums of rows, (..., 2, P): most and least relevant pixels first."""
        return total[..., :-2].reshape(*total.shape[:-1], 2, -1) / total[..., -1, None, None]

    @property
    def curves(self) -> Tensor:
        """The mean curves of all images counted so far, (2, P) float32: most and least relevant pixels first."""
        return self.mean_curves(self.total).float()
