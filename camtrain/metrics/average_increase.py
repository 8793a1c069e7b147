"""How often the class's probability rises on the masked image."""

from __future__ import annotations

from torch import Tensor

from camtrain.metrics.masked_score import MaskedScore
from camtrain.metrics.probabilities import checked_pair


def increase(probabilities: Tensor, masked_probabilities: Tensor) -> Tensor:
    """Whether each image's probability rises on the masked image.

        increase = 1[Y < O]

    where Y is the probability of the explained class on the image, and O the one on image ⊙ map.

    Args:
        probabilities: (N,), Y, in [0, 1].
        masked_probabilities: (N,), O, in [0, 1].

    Returns:
        (N,), 0 or 1, higher is better; 0 where Y = O, even if Y = 1 leaves no room.

    Raises:
        TypeError: If an argument is no tensor.
        ValueError: If the arguments are not probabilities, or their shapes differ.

    Source:
        Chattopadhyay et al., Grad-CAM++, WACV 2018, arXiv 1710.11063, section 4.1: increase in confidence.

    Example:
        >>> import torch
        >>> increase(torch.tensor([0.8, 0.5]), torch.tensor([0.2, 0.9]))
        tensor([0., 1.])
    """
    given, masked = checked_pair(probabilities, masked_probabilities)
    return (given < masked).to(given)


class AverageIncrease(MaskedScore):
    """% Increase in Confidence: the fraction of images whose probability rises on image ⊙ map; higher is better.

    See `increase` for the formula and its source. It counts how often the probability rises; `AverageGain` measures by
    how much.

    Args:
        kwargs: Passed on to `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> metric = AverageIncrease()
        >>> metric(torch.tensor([0.8, 0.5]), torch.tensor([0.2, 0.9]))
        tensor(0.5000)
    """

    higher_is_better = True

    def scores(self, probabilities: Tensor, masked_probabilities: Tensor) -> Tensor:
        """Whether the probability rises on each image, (N,)."""
        return increase(probabilities, masked_probabilities)
