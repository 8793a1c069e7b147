"""How often one method's map loses less of the probability than another's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from camtrain.messages import positive_integer
from camtrain.metrics.additive_score import AdditiveScore
from camtrain.metrics.average_drop import drop
from camtrain.metrics.checked import check_length, checked_tensor
from camtrain.metrics.mean_score import MeanScore
from camtrain.metrics.probabilities import checked_probabilities

TIE = 1e-4  # two drops that differ by no more than this are equal


def wins(probabilities: Tensor, compared_probabilities: Tensor) -> Tensor:
    """Whether each method drops less than each other method, image by image.

        win[a, b] = 1[drop_a < drop_b]

    If two methods drop equally, for example because both lose nothing, neither wins. Drops that differ by no more than
    1e-4 count as equal, because rounding makes such differences between equal maps.

    Args:
        probabilities: (N,) probability of the explained class on each image.
        compared_probabilities: (N, M) probability of the same class on image ⊙ map, for each of M methods; NaN where a
            method has no map.

    Returns:
        (N, M, M), 0 or 1; NaN where a method has no map, and on the diagonal.

    Raises:
        TypeError: If an argument is no tensor.
        ValueError: If the arguments are not probabilities, or describe different numbers of images.

    Source:
        Chattopadhyay et al., Grad-CAM++, WACV 2018, arXiv 1710.11063, section 4.1: the win rate of two methods.

    Example:
        >>> wins(torch.tensor([0.8]), torch.tensor([[0.4, 0.2]]))
        tensor([[[nan, 1.],
                 [0., nan]]])
    """
    given = checked_probabilities("probabilities", probabilities)
    compared = checked_tensor("compared_probabilities", compared_probabilities, "N, M")
    check_length("compared_probabilities", compared, "probabilities", given)
    known = ~compared.isnan()
    compared = checked_probabilities("compared_probabilities", torch.where(known, compared, 0.0), "N, M")
    drops = torch.stack([drop(given, one) for one in compared.unbind(dim=1)], dim=1)
    won = (drops.unsqueeze(2) + TIE < drops.unsqueeze(1)).to(drops)
    comparable = known.unsqueeze(2) & known.unsqueeze(1)
    comparable &= ~torch.eye(drops.shape[1], dtype=torch.bool, device=drops.device)
    return torch.where(comparable, won, torch.nan)


class Win(AdditiveScore):
    """The fraction of images on which one method drops less than another, for every pair of M methods.

    See `wins` for the definition and its source. `compute()` returns an (M, M) matrix: entry [a, b] is how often method
    a beats method b. Because of ties, the entries [a, b] and [b, a] can sum to less than 1.

    Args:
        num_methods: M, the number of methods.
        kwargs: Passed on to `torchmetrics.Metric`.

    Raises:
        ValueError: If `num_methods` is no positive integer.

    Example:
        >>> metric = Win(num_methods=2)
        >>> metric(torch.tensor([0.8, 0.8, 0.5]), torch.tensor([[0.4, 0.2], [0.1, 0.2], [0.4, 0.1]]))
        tensor([[   nan, 0.6667],
                [0.3333,    nan]])
    """

    higher_is_better = True
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0
    plot_legend_name = "Method"

    def __init__(self, num_methods: int, **kwargs: Any) -> None:
        super().__init__(row_length=2 * positive_integer("num_methods", num_methods) ** 2, **kwargs)
        self.num_methods = num_methods

    def update(self, probabilities: Tensor, compared_probabilities: Tensor) -> None:
        """Count a batch.

        Args:
            probabilities: (N,) probability of the explained class on each image.
            compared_probabilities: (N, M) probability of the same class on image ⊙ map, for each method; NaN where a
                method has no map.

        Raises:
            TypeError: If an argument is no tensor.
            ValueError: If the arguments are not probabilities, or of another number of images or methods.
        """
        super().update(probabilities, compared_probabilities)

    def rows(self, probabilities: Tensor, compared_probabilities: Tensor) -> Tensor:
        """The wins and the comparisons of every pair, (N, 2 M²); the arguments are those of `update`."""
        compared = checked_tensor("compared_probabilities", compared_probabilities, f"N, {self.num_methods}")
        won = wins(probabilities, compared).flatten(1)
        return torch.cat([won.nan_to_num(0.0), (~won.isnan()).to(won)], dim=1)

    def value(self, total: Tensor) -> Tensor:
        """The win rate of every pair, (..., M, M)."""
        won, compared = total.reshape(*total.shape[:-1], 2, self.num_methods, self.num_methods).unbind(dim=-3)
        return won / compared

    def drawn(self, score: Tensor | float) -> dict[str, Tensor]:
        """The entries beside the diagonal, by the name of the pair."""
        matrix, methods = torch.as_tensor(score), range(self.num_methods)
        return {f"{self.plot_legend_name} {a} over {b}": matrix[a, b] for a in methods for b in methods if a != b}


class WinShare(MeanScore):
    """The fraction of the other methods that one method beats, averaged over images; higher is better.

    It beats a method if it drops less (see `wins`). Where every method has a map of every image, the score is the mean
    of the method's row of `Win`.

    Args:
        kwargs: Passed on to `torchmetrics.Metric`.

    Example:
        >>> metric = WinShare()
        >>> metric(torch.tensor([0.8]), torch.tensor([[0.4, 0.2, 0.6]]), method=0)
        tensor(0.5000)
    """

    higher_is_better = True
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    def update(self, probabilities: Tensor, compared_probabilities: Tensor, method: int) -> None:
        """Count a batch.

        Args:
            probabilities: (N,) probability of the explained class on each image.
            compared_probabilities: (N, M) probability of the same class on image ⊙ map, for each method; NaN where a
                method has no map.
            method: The index of the method that is scored, its column in `compared_probabilities`.

        Raises:
            TypeError: If one of the first two arguments is no tensor.
            ValueError: If they are not probabilities, or describe different numbers of images, or there is no such
                method.
        """
        super().update(probabilities, compared_probabilities, method)

    def scores(self, probabilities: Tensor, compared_probabilities: Tensor, method: int) -> Tensor:
        """The fraction of the other methods that the method beats on each image, (N,); NaN if there is none."""
        won = wins(probabilities, compared_probabilities)
        if isinstance(method, bool) or not isinstance(method, int) or not 0 <= method < won.shape[1]:
            raise ValueError(f"`method`: expected an index from 0 to {won.shape[1] - 1}, got {method!r}")
        return won[:, method].nanmean(dim=1)
