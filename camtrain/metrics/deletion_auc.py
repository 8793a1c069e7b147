"""How soon the class is gone where the most important pixels are taken away first."""

from __future__ import annotations

from camtrain.metrics.area_under_curve import AreaUnderCurve


class DeletionAUC(AreaUnderCurve):
    """Mean area under the probability of the class while pixels are taken away, the most relevant ones first.

    Lower is better: the class is gone when few pixels are. `camtrain.evaluation.removal_path.path_images` makes
    the images; what takes the place of a pixel is 0 after normalization, the mean color.

    Args:
        num_steps: T, steps of the way; a curve has T + 1 points. RISE changes as many pixels in a step as the image is
            wide, T = 224.
        kwargs: passed on to `torchmetrics.Metric`.

    Raises:
        ValueError: if `num_steps` is no positive integer.

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
