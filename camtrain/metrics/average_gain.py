"""How much of the missing probability is gained where only what the map shows is left."""

from __future__ import annotations

import torch
from torch import Tensor

from camtrain.metrics.mean_score import MeanScore
from camtrain.metrics.probabilities import checked_pair


def gain(scores: Tensor, masked_scores: Tensor) -> Tensor:
    """The share of what each image's probability lacks of 1 that is gained.

        gain = max(0, O - Y) / (1 - Y)

    where Y is the probability of the explained class on the image, and O the one on image ⊙ map.

    Args:
        scores: (N,), Y, in [0, 1].
        masked_scores: (N,), O, in [0, 1].

    Returns:
        (N,) in [0, 1], higher is better; 0 where Y = 1, since nothing can be gained.

    Raises:
        ValueError: if they are no probabilities, or not one per image.

    Source:
        Zhang et al., Opti-CAM: Optimizing saliency maps for interpretability, CVIU 2024, arXiv 2301.07002, where it
        replaces the average increase, as the counterpart of the average drop. Departure: a fraction, in the place of
        percent.

    Example:
        >>> gain(torch.tensor([0.8, 0.5]), torch.tensor([0.2, 0.9]))
        tensor([0.0000, 0.8000])
    """
    scores, masked_scores = checked_pair(scores, masked_scores)
    missing = 1 - scores
    return (masked_scores - scores).clamp(min=0) / torch.where(missing > 0, missing, 1.0)


class AverageGain(MeanScore):
    """Mean share of the missing probability that is gained on image ⊙ map: Average Gain, higher is better.

    See `gain` for the formula and its source.

    Args:
        kwargs: passed on to `torchmetrics.Metric`.

    Example:
        >>> metric = AverageGain()
        >>> metric(torch.tensor([0.8, 0.5]), torch.tensor([0.2, 0.9]))
        tensor(0.4000)
    """

    higher_is_better = True

    def scores(self, scores: Tensor, masked_scores: Tensor) -> Tensor:
        """See `gain`."""
        return gain(scores, masked_scores)
