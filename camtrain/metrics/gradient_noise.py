"""How noisy the gradient at the input is."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics.functional.image import total_variation

from camtrain.metrics.mean_score import MeanScore


def gradient_noise(gradients: Tensor) -> Tensor:
    """Total variation of each gradient, as a share of the largest that values of such magnitude can have.

        Σ (|δ_{i+1,j} - δ_{i,j}| + |δ_{i,j+1} - δ_{i,j}|) / (4 Σ |δ_{i,j}|)

    It does not depend on the scale of the gradient, and hardly on the size of the image: at the edges neighbors are
    missing, so that a checkerboard of n × n has 1 - 1/n. A smooth gradient comes close to 0.

    Args:
        gradients: (N, C, H, W).

    Returns:
        (N,) in [0, 1], lower is better; NaN for a gradient that is zero everywhere.

    Raises:
        ValueError: if they are not (N, C, H, W), or not finite.

    Source:
        This project; the total variation is torchmetrics', anisotropic.

    Example:
        >>> checkers = 1 - 2.0 * (torch.arange(64).view(8, 1, 8).add(torch.arange(8).view(8, 1, 1)) % 2)
        >>> gradient_noise(torch.stack([checkers.view(1, 8, 8), torch.ones(1, 8, 8)]))
        tensor([0.8750, 0.0000])
    """
    if gradients.dim() != 4:
        raise ValueError(f"`gradients`: expected (N, C, H, W), got {tuple(gradients.shape)}")
    if not bool(gradients.isfinite().all()):
        raise ValueError("`gradients`: expected finite values, got NaN or infinity")
    if len(gradients) == 0:
        return gradients.new_zeros(0, dtype=torch.float32)
    # Gradients of a confident network are too small to be squared or summed as they are.
    largest = gradients.to(torch.promote_types(gradients.dtype, torch.float32)).abs().amax(dim=(1, 2, 3), keepdim=True)
    scaled = gradients / torch.where(largest > 0, largest, 1.0)
    variation = total_variation(scaled, reduction="none")
    return variation / (4 * scaled.abs().sum(dim=(1, 2, 3)))


class GradientNoise(MeanScore):
    """Mean total variation of the input gradient, relative to its magnitude; lower is better.

    See `gradient_noise` for the formula. A gradient that is zero everywhere has none and is not counted.

    Args:
        kwargs: passed on to `torchmetrics.Metric`.

    Example:
        >>> metric = GradientNoise()
        >>> metric(torch.cat([torch.ones(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)])), metric.counted
        (tensor(0.), tensor(1))
    """

    higher_is_better = False

    def scores(self, gradients: Tensor) -> Tensor:
        """See `gradient_noise`."""
        return gradient_noise(gradients)
