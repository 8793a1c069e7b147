"""How often one method's map loses less of the probability than another's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from camtrain.metrics.additive_score import AdditiveScore
from camtrain.metrics.average_drop import drop
from camtrain.metrics.mean_score import MeanScore
from camtrain.metrics.probabilities import checked_probabilities
from camtrain.positive_integer import positive_integer

TIE = 1e-4  # drops that differ by less are equal


def wins(scores: Tensor, masked_scores: Tensor) -> Tensor:
    """Whether each method drops less than each other one, image by image.

        win[a, b] = 1[drop_a < drop_b]

    Methods that drop equally, such as two that lose nothing, win neither way; so do those whose drops differ by no more
    than 1e-4, which is what rounding makes of equal maps.

    Args:
        scores: (N,) probability of the explained class on the image.
        masked_scores: (N, M), on image ⊙ map of each of M methods; NaN where a method has no map.

    Returns:
        (N, M, M), 0 or 1; NaN where a method has no map, and on the diagonal.

    Raises:
        ValueError: if they are no probabilities, or not of as many images.

    Source:
        Chattopadhyay et al., Grad-CAM++, WACV 2018, arXiv 1710.11063, section 4.1: the win rate of two methods.

    Example:
        >>> wins(torch.tensor([0.8]), torch.tensor([[0.4, 0.2]]))
        tensor([[[nan, 1.],
                 [0., nan]]])
    """
    if masked_scores.dim() != 2:
        raise ValueError(
            f"`masked_scores`: expected (N, M), a column for each method, got {tuple(masked_scores.shape)}"
        )
    known = ~masked_scores.isnan()
    checked_probabilities("masked_scores", masked_scores.nan_to_num(0.0), scores)
    drops = torch.stack([drop(scores, one) for one in masked_scores.nan_to_num(0.0).unbind(dim=1)], dim=1)
    won = (drops.unsqueeze(2) + TIE < drops.unsqueeze(1)).to(drops)
    comparable = known.unsqueeze(2) & known.unsqueeze(1)
    comparable &= ~torch.eye(drops.shape[1], dtype=torch.bool, device=drops.device)
    return torch.where(comparable, won, torch.nan)


class Win(AdditiveScore):
    """Share of images on which one method drops less than another, for every pair of M methods.

    See `wins` for the definition and its source. `compute()` is an (M, M) matrix, row a against column b; with ties,
    the two sides of a pair add up to less than one.

    Args:
        num_methods: M.
        kwargs: passed on to `torchmetrics.Metric`.

    Raises:
        ValueError: if `num_methods` is no positive integer.

    Example:
        >>> metric = Win(num_methods=2)
        >>> metric(torch.tensor([0.8, 0.8, 0.5]), torch.tensor([[0.4, 0.2], [0.1, 0.2], [0.4, 0.1]]))
        tensor([[   nan, 0.6667],
                [0.3333,    nan]])
    """

    higher_is_better = True

    def __init__(self, num_methods: int, **kwargs: Any) -> None:
        super().__init__(row_length=2 * positive_integer("num_methods", num_methods) ** 2, **kwargs)
        self.num_methods = num_methods

    def rows(self, scores: Tensor, masked_scores: Tensor) -> Tensor:
        """Wins and comparisons of every pair, (N, 2 M²)."""
        if masked_scores.shape[-1] != self.num_methods:
            raise ValueError(f"`masked_scores`: expected {self.num_methods} methods, got {tuple(masked_scores.shape)}")
        won = wins(scores, masked_scores).flatten(1)
        return torch.cat([won.nan_to_num(0.0), (~won.isnan()).to(won)], dim=1)

    def value(self, total: Tensor) -> Tensor:
        """(..., M, M)."""
        won, compared = total.reshape(*total.shape[:-1], 2, self.num_methods, self.num_methods).unbind(dim=-3)
        return won / compared


class WinShare(MeanScore):
    """Share of the other methods than which one method drops less, in the mean over images.

    That is the mean of the method's row of `Win`, where all methods have a map of every image.

    Args:
        kwargs: passed on to `torchmetrics.Metric`.

    Example:
        >>> metric = WinShare()
        >>> metric(torch.tensor([0.8]), torch.tensor([[0.4, 0.2, 0.6]]), method=0)
        tensor(0.5000)
    """

    higher_is_better = True

    def scores(self, scores: Tensor, masked_scores: Tensor, method: int) -> Tensor:
        """(N,), NaN where there is no other method.

        Args:
            scores: (N,).
            masked_scores: (N, M).
            method: index of the method that is scored.
        """
        return wins(scores, masked_scores)[:, method].nanmean(dim=1)
