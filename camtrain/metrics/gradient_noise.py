"""How noisy the gradient at the input is."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics.functional.image import total_variation

from camtrain.metrics.checked import check_finite, checked_tensor
from camtrain.metrics.mean_score import MeanScore


def gradient_noise(input_gradients: Tensor) -> Tensor:
    """The total variation of each gradient, as a fraction of the largest that its magnitude allows.

        Σ (|δ_{i+1,j} - δ_{i,j}| + |δ_{i,j+1} - δ_{i,j}|) / (4 Σ |δ_{i,j}|)

    The value does not depend on the scale of the gradient, and hardly on the size of the image: pixels at the border
    have fewer neighbors, so that an n × n checkerboard scores 1 - 1/n. A smooth gradient scores close to 0.

    Args:
        input_gradients: (N, C, H, W).

    Returns:
        (N,) in [0, 1], lower is better; NaN for a gradient that is zero everywhere.

    Raises:
        TypeError: If the gradients are no tensor.
        ValueError: If they are not (N, C, H, W), or not finite.

    Source:
        This project; the total variation is the anisotropic one of torchmetrics.

    Example:
        >>> checkers = 1 - 2.0 * (torch.arange(64).view(8, 1, 8).add(torch.arange(8).view(8, 1, 1)) % 2)
        >>> gradient_noise(torch.stack([checkers.view(1, 8, 8), torch.ones(1, 8, 8)]))
        tensor([0.8750, 0.0000])
    """
    gradients = checked_tensor("input_gradients", input_gradients, "N, C, H, W")
    check_finite("input_gradients", gradients)
    if len(gradients) == 0:
        return gradients.new_zeros(0, dtype=torch.float32)
    # The gradients of a confident network are too small to be squared or summed as they are.
    largest = gradients.to(torch.promote_types(gradients.dtype, torch.float32)).abs().amax(dim=(1, 2, 3), keepdim=True)
    scaled = gradients / torch.where(largest > 0, largest, 1.0)
    variation = total_variation(scaled, reduction="none")
    return variation / (4 * scaled.abs().sum(dim=(1, 2, 3)))


class GradientNoise(MeanScore):
    """The mean total variation of the input gradient, relative to its magnitude; lower is better.

    See `gradient_noise` for the formula. A gradient that is zero everywhere has no such ratio and is not counted.

    Args:
        kwargs: Passed on to `torchmetrics.Metric`.

    Example:
        >>> metric = GradientNoise()
        >>> metric(torch.cat([torch.ones(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)])), metric.counted
        (tensor(0.), tensor(1))
    """

    higher_is_better = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    def update(self, input_gradients: Tensor) -> None:
        """Count a batch.

        Args:
            input_gradients: (N, C, H, W) gradients of the loss of each image at the image.

        Raises:
            TypeError: If the gradients are no tensor.
            ValueError: If they are not (N, C, H, W), or not finite.
        """
        super().update(input_gradients)

    def scores(self, input_gradients: Tensor) -> Tensor:
        """The noise of each gradient, (N,) (see `gradient_noise`)."""
        return gradient_noise(input_gradients)
