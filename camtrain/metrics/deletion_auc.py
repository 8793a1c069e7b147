"""How soon the class disappears when the most relevant pixels are deleted first."""

from __future__ import annotations

from torch import Tensor

from camtrain.metrics.area_under_curve import AreaUnderCurve


class DeletionAUC(AreaUnderCurve):
    """The mean area under the class's probability while pixels are deleted, the most relevant ones first.

    Lower is better: the class disappears with few pixels. `camtrain.evaluation.removal_path.path_images` makes the
    images; a deleted pixel becomes 0 after normalization, the mean color.

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
        >>> metric = DeletionAUC(num_steps=2)
        >>> metric(torch.tensor([[0.9, 0.2, 0.1]]))
        tensor(0.3500)
    """

    higher_is_better = False

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
