"""The total variation of pictures."""

from __future__ import annotations

from torch import Tensor


def total_variation(pictures: Tensor) -> Tensor:
    """Sum of the absolute differences between vertical and between horizontal neighbors (anisotropic).

    Args:
        pictures: (N, ..., H, W).

    Returns:
        (N,).

    Source:
        Rudin et al., Nonlinear Total Variation Based Noise Removal Algorithms, Physica D 60, 1992.

    Example:
        >>> import torch
        >>> total_variation(torch.tensor([[[0.0, 1.0], [0.0, 3.0]]]))
        tensor([6.])
    """
    vertical = pictures.diff(dim=-2).abs().flatten(1).sum(dim=1)
    return vertical + pictures.diff(dim=-1).abs().flatten(1).sum(dim=1)
