"""The base of metrics that compare the probability on the image with that on the masked image."""

from __future__ import annotations

from torch import Tensor

from camtrain.metrics.mean_score import MeanScore


class MaskedScore(MeanScore):
    """The mean of a score in [0, 1] of two probabilities: on the image, and on image ⊙ map.

    A subclass defines `scores`, with the arguments of `update`.

    Args:
        kwargs: Passed on to `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> class MeanDifference(MaskedScore):
        ...     def scores(self, probabilities: Tensor, masked_probabilities: Tensor) -> Tensor:
        ...         return (probabilities - masked_probabilities).abs()
        >>> MeanDifference()(torch.tensor([0.75, 0.5]), torch.tensor([0.5, 0.75]))
        tensor(0.2500)
    """

    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    def update(self, probabilities: Tensor, masked_probabilities: Tensor) -> None:
        """Count a batch.

        Args:
            probabilities: (N,) probability of the explained class on each image.
            masked_probabilities: (N,) probability of the same class on image ⊙ map.

        Raises:
            TypeError: If an argument is no tensor.
            ValueError: If the arguments are not probabilities, or their shapes differ.
        """
        super().update(probabilities, masked_probabilities)
