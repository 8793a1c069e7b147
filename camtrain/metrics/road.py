"""Which pixels the class depends on, if removed pixels are imputed so that they leave no trace."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from camtrain.messages import positive_integer
from camtrain.metrics.additive_score import AdditiveScore
from camtrain.metrics.checked import check_shape, checked_tensor
from camtrain.metrics.probabilities import checked_probabilities


def road(most_relevant_first: Tensor, least_relevant_first: Tensor) -> Tensor:
    """How much more probability remains without the least relevant pixels than without the most relevant ones.

        ROAD = 1/P Σ_p (LeRF_p - MoRF_p) / 2

    where MoRF_p and LeRF_p are the probabilities of the explained class after the fraction p of the most or of the
    least relevant pixels was removed and imputed (`camtrain.evaluation.imputed.removed_and_imputed`). A random order
    scores 0 on average.

    Departures from the paper: the paper compares methods by the accuracy on a data set, for each p and each order. This
    is one number per image, from probabilities, as in pytorch-grad-cam's `ROADCombined`.

    Args:
        most_relevant_first: (N, P) probabilities without the most relevant pixels, one column for each p.
        least_relevant_first: (N, P) probabilities without the least relevant pixels.

    Returns:
        (N,) in [-1/2, 1/2], higher is better.

    Raises:
        TypeError: If an argument is no tensor.
        ValueError: If the arguments are not probabilities, not (N, P), or their shapes differ.

    Source:
        Rong et al., A Consistent and Efficient Evaluation Strategy for Attribution Methods, ICML 2022, arXiv
        2202.00449.

    Example:
        >>> road(torch.tensor([[0.5, 0.1]]), torch.tensor([[0.9, 0.7]]))
        tensor([0.2500])
    """
    most, least = _checked(most_relevant_first, least_relevant_first)
    return (least - most).mean(dim=1) / 2


class ROAD(AdditiveScore):
    """Remove and Debias: the mean of `road` over images; higher is better.

    See `road` for the formula and its source. The property `curves` holds the two mean curves.

    Args:
        num_shares: P, the number of fractions of the pixels that are removed.
        kwargs: Passed on to `torchmetrics.Metric`.

    Raises:
        ValueError: If `num_shares` is no positive integer.

    Example:
        >>> metric = ROAD(num_shares=2)
        >>> metric(torch.tensor([[0.5, 0.1]]), torch.tensor([[0.9, 0.7]]))
        tensor(0.2500)
        >>> metric.curves
        tensor([[0.5000, 0.1000],
                [0.9000, 0.7000]])
    """

    higher_is_better = True
    plot_lower_bound = -0.5
    plot_upper_bound = 0.5

    def __init__(self, num_shares: int, **kwargs: Any) -> None:
        super().__init__(row_length=2 * positive_integer("num_shares", num_shares) + 2, **kwargs)
        self.num_shares = num_shares

    def update(self, most_relevant_first: Tensor, least_relevant_first: Tensor) -> None:
        """Count a batch.

        Args:
            most_relevant_first: (N, P) probability of the explained class without the most relevant pixels.
            least_relevant_first: (N, P) probability of the explained class without the least relevant pixels.

        Raises:
            TypeError: If an argument is no tensor.
            ValueError: If the arguments are not probabilities, not (N, P), or their shapes differ.
        """
        super().update(most_relevant_first, least_relevant_first)

    def rows(self, most_relevant_first: Tensor, least_relevant_first: Tensor) -> Tensor:
        """[both curves, score, 1] of each image, (N, 2 P + 2); the arguments are those of `update`."""
        checked_tensor("most_relevant_first", most_relevant_first, f"N, {self.num_shares}")
        most, least = _checked(most_relevant_first, least_relevant_first)
        score = road(most, least).unsqueeze(1)
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


def _checked(most_relevant_first: Tensor, least_relevant_first: Tensor) -> tuple[Tensor, Tensor]:
    most = checked_probabilities("most_relevant_first", most_relevant_first, "N, P")
    least = checked_probabilities("least_relevant_first", least_relevant_first, "N, P")
    check_shape("least_relevant_first", least, "most_relevant_first", most)
    return most, least
