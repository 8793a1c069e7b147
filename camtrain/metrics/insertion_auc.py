"""How soon the class appears when the most relevant pixels are inserted first."""

from __future__ import annotations

from torch import Tensor

from camtrain.metrics.area_under_curve import AreaUnderCurve


class InsertionAUC(AreaUnderCurve):
    """The mean area under the class's probability while a blurred image is sharpened, most relevant pixels first.

    Higher is better: few pixels suffice for the class. `camtrain.evaluation.removal_path.path_images` makes the images.
    The network was not trained on such half-blurred images, and its answers to them are part of the score.

    Args:
        num_steps: T, the number of steps; a curve has T + 1 points. RISE uses T = 224 at 224 × 224, where a step
            changes one image row's worth of pixels.
        kwargs: Passed on to `torchmetrics.Metric`.

    Raises:
        ValueError: If `num_steps` is no positive integer.

    Source:
        Petsiuk et al., RISE: Randomized Input Sampling for Explanation of Black-box Models, BMVC 2018, arXiv
        1806.07421, section 4.2.

    Example:
        >>> import torch
        >>> metric = InsertionAUC(num_steps=2)
        >>> metric(torch.tensor([[0.0, 0.8, 1.0], [0.0, 0.2, 0.6]]))
        tensor(0.4500)
        >>> metric.curve
        tensor([0.0000, 0.5000, 0.8000])
    """

    higher_is_better = True

    def update(self, insertion_curves: Tensor) -> None:
        """Count a batch.

        Args:
            insertion_curves: (N, T + 1) probability of the explained class, from the blurred image to the sharp one.

        Raises:
            TypeError: If the argument is no tensor.
            ValueError: If the values are not probabilities, or there is another number of points.
        """
        super().update(insertion_curves)

    def rows(self, insertion_curves: Tensor) -> Tensor:
        """[curve, 1] of each image, (N, T + 2); the arguments are those of `update`."""
        return self.rows_of_curves("insertion_curves", insertion_curves)
