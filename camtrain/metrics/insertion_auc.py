"""How soon the class is seen where the most important pixels are brought in first."""

from __future__ import annotations

from camtrain.metrics.area_under_curve import AreaUnderCurve


class InsertionAUC(AreaUnderCurve):
    """Mean area under the probability of the class while a blurred image is made sharp, the most relevant pixels first.

    Higher is better: few pixels suffice for the class. `camtrain.evaluation.removal_path.path_images` makes the images.
    Their probabilities depend on the images in which something is missing, which no network was trained on.

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
        >>> metric = InsertionAUC(num_steps=2)
        >>> metric(torch.tensor([[0.0, 0.8, 1.0], [0.0, 0.2, 0.6]]))
        tensor(0.4500)
        >>> metric.curve
        tensor([0.0000, 0.5000, 0.8000])
    """

    higher_is_better = True
