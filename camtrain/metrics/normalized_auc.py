"""Insertion and deletion relative to the confidence in the whole image."""

from __future__ import annotations

from torch import Tensor

from camtrain.metrics.area_under_curve import area
from camtrain.metrics.deletion_auc import DeletionAUC
from camtrain.metrics.insertion_auc import InsertionAUC


class NormalizedInsertionAUC(InsertionAUC):
    """The area under the insertion curve divided by the probability on the whole image; higher is better.

        score = AUC(mean curve) / (last point of the mean curve)

    A network that is less sure has a lower curve everywhere, whatever its maps show; this score takes that out.
    Departure from papers that divide each image's curve: the mean curve is divided by the mean probability, so that an
    image with a probability near 0 does not outweigh all others. The score exceeds 1 where parts of the images are more
    convincing than the whole.

    Args:
        num_steps: T, the number of steps; a curve has T + 1 points, as for `InsertionAUC`.
        kwargs: Passed on to `torchmetrics.Metric`.

    Raises:
        ValueError: If `num_steps` is no positive integer.

    Example:
        >>> import torch
        >>> metric = NormalizedInsertionAUC(num_steps=2)
        >>> metric(torch.tensor([[0.1, 0.4, 0.5]]))  # an area of 0.35
        tensor(0.7000)
    """

    plot_upper_bound = 2.0

    def value(self, total: Tensor) -> Tensor:
        """The area under the mean curve, divided by its last point."""
        curve = self.mean_curve(total)
        return area(curve) / curve[..., -1]


class NormalizedDeletionAUC(DeletionAUC):
    """The area under the deletion curve divided by the probability on the whole image; lower is better.

        score = AUC(mean curve) / (first point of the mean curve)

    See `NormalizedInsertionAUC` for what this is good for, and for the departure.

    Args:
        num_steps: T, the number of steps; a curve has T + 1 points, as for `DeletionAUC`.
        kwargs: Passed on to `torchmetrics.Metric`.

    Raises:
        ValueError: If `num_steps` is no positive integer.

    Example:
        >>> import torch
        >>> metric = NormalizedDeletionAUC(num_steps=2)
        >>> metric(torch.tensor([[0.5, 0.2, 0.1]]))  # an area of 0.25
        tensor(0.5000)
    """

    plot_upper_bound = 2.0

    def value(self, total: Tensor) -> Tensor:
        """The area under the mean curve, divided by its first point."""
        curve = self.mean_curve(total)
        return area(curve) / curve[..., 0]
