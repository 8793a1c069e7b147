"""How much of the class the network reads from the map itself, over content that does not show the class."""

from __future__ import annotations

import torch
from torch import Tensor

from camtrain.metrics.checked import check_shape, checked_tensor
from camtrain.metrics.mean_score import MeanScore
from camtrain.metrics.probabilities import checked_probabilities


def map_leakage(content_probabilities: Tensor, masked_content_probabilities: Tensor) -> Tensor:
    """How much more probable the explained class is where its map lies over content that does not show the class.

        leakage = 1/C Σ_c max(0, p(content_c ⊙ map) − p(content_c))

    where p is the probability of the class that the map explains. `camtrain.evaluate` takes C = 2 kinds of content: an
    image of another class, and noise. Each difference is cut at 0 by itself, so that a class that the network happens
    to see in bare noise cannot make up for one that it reads from the map.

    A map that is 1 everywhere scores exactly 0. Masking as such makes a network less sure of what the content shows,
    and the other classes a little more probable. A map without any meaning therefore scores somewhat more than 0;
    compare the score with that of a control map, or of another network.

    Args:
        content_probabilities: (N, C) probabilities of the class on each content, in [0, 1]; NaN where an image has no
            content of that kind, which is left out of its mean.
        masked_content_probabilities: (N, C) probabilities of the same class on content ⊙ map; NaN likewise.

    Returns:
        (N,) in [0, 1], lower is better; NaN for an image without any content.

    Raises:
        TypeError: If an argument is no tensor.
        ValueError: If the arguments are not probabilities, not (N, C), their shapes differ, or only one of them is NaN.

    Source:
        This project. The leak is the encoding of predictions in masks of Jethani et al., Have We Learned to Explain?:
        How Interpretability Methods Can Learn to Encode Predictions in their Interpretations, AISTATS 2021, arXiv
        2103.01890.

    Example:
        >>> map_leakage(torch.tensor([[0.1, 0.3]]), torch.tensor([[0.7, 0.1]]))
        tensor([0.3000])
    """
    plain = _with_gaps("content_probabilities", content_probabilities)
    masked = _with_gaps("masked_content_probabilities", masked_content_probabilities)
    check_shape("masked_content_probabilities", masked, "content_probabilities", plain)
    _check_gaps("content_probabilities", plain, "masked_content_probabilities", masked)
    _check_gaps("masked_content_probabilities", masked, "content_probabilities", plain)
    return (masked - plain).clamp(min=0).nanmean(dim=1)


def _with_gaps(name: str, values: Tensor) -> Tensor:
    given = checked_tensor(name, values, "N, C")
    return checked_probabilities(name, given.nan_to_num(0), "N, C").masked_fill(given.isnan(), torch.nan)


def _check_gaps(name: str, values: Tensor, other: str, others: Tensor) -> None:
    if bool((values.isnan() & ~others.isnan()).any()):
        raise ValueError(f"`{name}`: expected NaN only where `{other}` is NaN too")


class MapLeakage(MeanScore):
    """Map leakage: the mean probability that a map adds to its class over content without that class; lower is better.

    See `map_leakage` for the formula. A network that is trained on its own maps can learn to read the class from their
    shape. Its maps then score well in average drop, insertion and the like, and say nothing about the image. Such a
    network has a high leakage.

    Args:
        kwargs: Passed on to `torchmetrics.Metric`.

    Example:
        >>> metric = MapLeakage()
        >>> metric(torch.tensor([[0.1, 0.3], [0.0, 0.0]]), torch.tensor([[0.7, 0.1], [1.0, 1.0]]))
        tensor(0.6500)
    """

    higher_is_better = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    def update(self, content_probabilities: Tensor, masked_content_probabilities: Tensor) -> None:
        """Count a batch.

        Args:
            content_probabilities: (N, C) probability of the explained class on each content; NaN where there is none.
            masked_content_probabilities: (N, C) probability of the same class on content ⊙ map; NaN likewise.

        Raises:
            TypeError: If an argument is no tensor.
            ValueError: If the arguments are not probabilities, not (N, C), their shapes differ, or only one is NaN.
        """
        super().update(content_probabilities, masked_content_probabilities)

    def scores(self, content_probabilities: Tensor, masked_content_probabilities: Tensor) -> Tensor:
        """The leakage of each image, (N,)."""
        return map_leakage(content_probabilities, masked_content_probabilities)
