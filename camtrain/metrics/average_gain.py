"""How much of the missing probability is gained on the masked image."""

from __future__ import annotations

import torch
from torch import Tensor

from camtrain.metrics.masked_score import MaskedScore
from camtrain.metrics.probabilities import checked_pair


def gain(probabilities: Tensor, masked_probabilities: Tensor) -> Tensor:
    """The fraction of each image's missing probability that is gained on the masked image.

        gain = max(0, O - Y) / (1 - Y)

    where Y is the probability of the explained class on the image, and O the one on image ⊙ map.

    Args:
        probabilities: (N,), Y, in [0, 1].
        masked_probabilities: (N,), O, in [0, 1].

    Returns:
        (N,) in [0, 1], higher is better; 0 where Y = 1, since nothing can be gained.

    Raises:
        TypeError: If an argument is no tensor.
        ValueError: If the arguments are not probabilities, or their shapes differ.

    Source:
        Zhang et al., Opti-CAM: Optimizing saliency maps for interpretability, CVIU 2024, arXiv 2301.07002. It replaces
        the average increase, as the counterpart of the average drop. Departure: a fraction instead of percent.

    Example:
        >>> gain(torch.tensor([0.8, 0.5]), torch.tensor([0.2, 0.9]))
        tensor([0.0000, 0.8000])
    """
    given, masked = checked_pair(probabilities, masked_probabilities)
    missing = 1 - given
    return (masked - given).clamp(min=0) / torch.where(missing > 0, missing, 1.0)


class AverageGain(MaskedScore):
    """Average Gain: the mean fraction of the missing probability that is gained on image ⊙ map; higher is better.

    See `gain` for the formula and its source.

    Args:
        kwargs: Passed on to `torchmetrics.Metric`.

    Example:
        >>> metric = AverageGain()
        >>> metric(torch.tensor([0.8, 0.5]), torch.tensor([0.2, 0.9]))
        tensor(0.4000)
    """

    higher_is_better = True

    def scores(self, probabilities: Tensor, masked_probabilities: Tensor) -> Tensor:
        """The gain of each image, (N,)."""
        return gain(probabilities, masked_probabilities)
