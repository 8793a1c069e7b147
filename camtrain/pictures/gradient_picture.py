"""A gradient at the input as a gray picture."""

from __future__ import annotations

import torch
from torch import Tensor

_PERCENTILE = 0.99


def gradient_picture(gradient: Tensor) -> Tensor:
    """A gradient in gray: the largest magnitude over the channels, white from its 99th percentile on.

    Args:
        gradient: The gradient, (C, H, W).

    Returns:
        (3, H, W) in [0, 1]; black if the gradient is zero everywhere.

    Source:
        Smilkov et al., SmoothGrad, 2017, arXiv 1706.03825, section 3 (how gradients are displayed).

    Example:
        >>> gradient_picture(torch.tensor([[[0.0, -2.0]], [[1.0, 1.0]], [[0.0, 0.0]]]))[0]
        tensor([[0.5025, 1.0000]])
    """
    magnitude = gradient.float().abs().amax(dim=0)
    white = torch.quantile(magnitude, _PERCENTILE)
    # A guided gradient can be zero at more than 99 % of the pixels.
    white = white if white > 0 else magnitude.max()
    gray = (magnitude / white).clamp(max=1) if white > 0 else torch.zeros_like(magnitude)
    return gray.expand(3, -1, -1)
