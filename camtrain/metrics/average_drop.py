"""How much of the class's probability is lost where only what the map shows is left."""

from __future__ import annotations

import torch
from torch import Tensor

from camtrain.metrics.mean_score import MeanScore
from camtrain.metrics.probabilities import checked_pair


def drop(scores: Tensor, masked_scores: Tensor) -> Tensor:
    """The share of each image's probability that is lost.

        drop = max(0, Y - O) / Y

    where Y is the probability of the explained class on the image, and O the one on image ⊙ map.

    Args:
        scores: (N,), Y, in [0, 1].
        masked_scores: (N,), O, in [0, 1].

    Returns:
        (N,) in [0, 1], lower is better; 0 where Y = 0, since nothing can be lost.

    Raises:
        ValueError: if they are no probabilities, or not one per image.

    Source:
        Chattopadhyay et al., Grad-CAM++, WACV 2018, arXiv 1710.11063, section 4.1. Departure: a fraction, in the place
        of percent.

    Example:
        >>> drop(torch.tensor([0.8, 0.5]), torch.tensor([0.2, 0.9]))
        tensor([0.7500, 0.0000])
    """
    scores, masked_scores = checked_pair(scores, masked_scores)
    return (scores - masked_scores).clamp(min=0) / torch.where(scores > 0, scores, 1.0)


class AverageDrop(MeanScore):
    """Mean share of the probability that is lost on image ⊙ map: Average Drop, lower is better.

    See `drop` for the formula and its source. It says nothing about how small the map is: a map of ones loses nothing.

    Args:
        kwargs: passed on to `torchmetrics.Metric`.

    Example:
        >>> metric = AverageDrop()
        >>> metric(torch.tensor([0.8, 0.5]), torch.tensor([0.2, 0.9]))
        tensor(0.3750)
    """

    higher_is_better = False

    def scores(self, scores: Tensor, masked_scores: Tensor) -> Tensor:
        """See `drop`."""
        return drop(scores, masked_scores)
