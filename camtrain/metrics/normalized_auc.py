"""Insertion and deletion relative to the confidence in the whole image."""

from __future__ import annotations

from torch import Tensor

from camtrain.metrics.area_under_curve import AreaUnderCurve, area_under_curve


class NormalizedInsertionAUC(AreaUnderCurve):
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

    higher_is_better = True
    plot_upper_bound = 2.0

    def update(self, insertion_curves: Tensor) -> None:
        """Count a batch.

        Args:
            insertion_curves: (N, T + 1) probability of the explained class, from the blurred image to the image.

        Raises:
            TypeError: If the argument is no tensor.
            ValueError: If the values are not probabilities, or there is another number of points.
        """
        super().update(insertion_curves)

    def rows(self, insertion_curves: Tensor) -> Tensor:
        """[curve, 1] of each image, (N, T + 2); the arguments are those of `update`."""
        return self.rows_of_curves("insertion_curves", insertion_curves)

    def value(self, total: Tensor) -> Tensor:
        """The area under the mean curve, divided by its last point."""
        curve = self.mean_curve(total)
        return area_under_curve(curve) / curve[..., -1]


class NormalizedDeletionAUC(AreaUnderCurve):
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

    higher_is_better = False
    plot_upper_bound = 2.0

    def update(self, deletion_curves: Tensor) -> None:
        """Count a batch.

        Args:
            deletion_curves: (N, T + 1) probability of the explained class, from the image to the one without pixels.

        Raises:
            TypeError: If the argument is no tensor.
            ValueError: If the values are not probabilities, or there is another number of points.
        """
        super().update(deletion_curves)

    def rows(self, deletion_curves: Tensor) -> Tensor:
        """[curve, 1] of each image, (N, T + 2); the arguments are those of `update`."""
        return self.rows_of_curves("deletion_curves", deletion_curves)

    def value(self, total: Tensor) -> Tensor:
        """The area under the mean curve, divided by its first point."""
        curve = self.mean_curve(total)
        return area_under_curve(curve) / curve[..., 0]
