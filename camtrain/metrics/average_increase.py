"""How often the class's probability rises where only what the map shows is left."""

from __future__ import annotations

from torch import Tensor

from camtrain.metrics.mean_score import MeanScore
from camtrain.metrics.probabilities import checked_pair


def increase(scores: Tensor, masked_scores: Tensor) -> Tensor:
    """Whether each image's probability rises.

        increase = 1[Y < O]

    where Y is the probability of the explained class on the image, and O the one on image ⊙ map.

    Args:
        scores: (N,), Y, in [0, 1].
        masked_scores: (N,), O, in [0, 1].

    Returns:
        (N,), 0 or 1, higher is better; 0 where they are equal, also where Y = 1 leaves no room.

    Raises:
        ValueError: if they are no probabilities, or not one per image.

    Source:
        Chattopadhyay et al., Grad-CAM++, WACV 2018, arXiv 1710.11063, section 4.1: increase in confidence.

    Example:
        >>> import torch
        >>> increase(torch.tensor([0.8, 0.5]), torch.tensor([0.2, 0.9]))
        tensor([0., 1.])
    """
    scores, masked_scores = checked_pair(scores, masked_scores)
    return (scores < masked_scores).to(scores)


class AverageIncrease(MeanScore):
    """Share of images whose probability rises on image ⊙ map: % Increase in Confidence, higher is better.

    See `increase` for the formula and its source. It counts how often, and not by how much; `AverageGain` does.

    Args:
        kwargs: passed on to `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> metric = AverageIncrease()
        >>> metric(torch.tensor([0.8, 0.5]), torch.tensor([0.2, 0.9]))
        tensor(0.5000)
    """

    higher_is_better = True

    def scores(self, scores: Tensor, masked_scores: Tensor) -> Tensor:
        """See `increase`."""
        return increase(scores, masked_scores)
