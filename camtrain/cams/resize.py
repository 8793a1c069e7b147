"""Maps at the size of the images."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def resize(cams: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize maps by bilinear interpolation, corners not aligned. Differentiable.

    Args:
        cams: The maps, (N, h, w).
        size: The new size, (H, W), in pixels.

    Returns:
        (N, H, W).

    Example:
        >>> import torch
        >>> resize(torch.tensor([[[0.0, 1.0]]]), (1, 4))
        tensor([[[0.0000, 0.2500, 0.7500, 1.0000]]])
    """
    return F.interpolate(cams.unsqueeze(1), size=size, mode="bilinear", align_corners=False).squeeze(1)
