"""How much of the class's probability is lost on the masked image."""

from __future__ import annotations

import torch
from torch import Tensor

from camtrain.metrics.masked_score import MaskedScore
from camtrain.metrics.probabilities import checked_pair


def drop(probabilities: Tensor, masked_probabilities: Tensor) -> Tensor:
    """The fraction of each image's probability that is lost on the masked image.

        drop = max(0, Y - O) / Y

    where Y is the probability of the explained class on the image, and O the one on image ⊙ map.

    Args:
        probabilities: (N,), Y, in [0, 1].
        masked_probabilities: (N,), O, in [0, 1].

    Returns:
        (N,) in [0, 1], lower is better; 0 where Y = 0, since nothing can be lost.

    Raises:
        TypeError: If an argument is no tensor.
        ValueError: If the arguments are not probabilities, or their shapes differ.

    Source:
        Chattopadhyay et al., Grad-CAM++, WACV 2018, arXiv 1710.11063, section 4.1. Departure: a fraction instead of
        percent.

    Example:
        >>> drop(torch.tensor([0.8, 0.5]), torch.tensor([0.2, 0.9]))
        tensor([0.7500, 0.0000])
    """
    given, masked = checked_pair(probabilities, masked_probabilities)
    return (given - masked).clamp(min=0) / torch.where(given > 0, given, 1.0)


class AverageDrop(MaskedScore):
    """Average Drop: the mean fraction of the probability that is lost on image ⊙ map; lower is better.

    See `drop` for the formula and its source. The score ignores the size of the map: a map of ones loses nothing.

    Args:
        kwargs: Passed on to `torchmetrics.Metric`.

    Example:
        >>> metric = AverageDrop()
        >>> metric(torch.tensor([0.8, 0.5]), torch.tensor([0.2, 0.9]))
        tensor(0.3750)
    """

    higher_is_better = False

    def scores(self, probabilities: Tensor, masked_probabilities: Tensor) -> Tensor:
        """The drop of each image, (N,)."""
        return drop(probabilities, masked_probabilities)
