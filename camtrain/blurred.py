"""Blurred images: an image without its detail, which metrics and regularizers put in place of pixels."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_SIZE, _SIGMA = 11, 5.0


def blurred(images: Tensor) -> Tensor:
    """Images blurred as RISE blurs them at 224 pixels: by a Gaussian of σ = 5, folded into 11 × 11 pixels.

    As in RISE's code, the tails of the Gaussian beyond the 11 pixels are reflected into them, which makes the kernel
    nearly flat, and the image is padded with zeros.

    Args:
        images: (N, C, H, W) images, normalized.

    Returns:
        (N, C, H, W) images.

    Source:
        Petsiuk et al., RISE, BMVC 2018, arXiv 1806.07421, section 4.2; the size and σ are those of its code.

    Example:
        >>> smooth = blurred(torch.ones(1, 3, 32, 32))[0, 0]
        >>> round(float(smooth[16, 16]), 3), round(float(smooth[0, 0]), 3)
        (1.0, 0.299)
    """
    height, width = images.shape[-2:]
    return _blur_of(height, images) @ images @ _blur_of(width, images)


def _blur_of(size: int, like: Tensor) -> Tensor:
    """The matrix, (size, size), that blurs `size` pixels in one direction.

    A product with it is several times as fast as a convolution, in training above all.
    """
    kernel = torch.from_numpy(_kernel()).to(like)
    place = torch.arange(size, device=like.device)
    offset = place.unsqueeze(1) - place + _SIZE // 2
    inside = (offset >= 0) & (offset < _SIZE)
    return torch.where(inside, kernel[offset.clamp(0, _SIZE - 1)], 0)


@cache
def _kernel() -> NDArray[np.float64]:
    """The kernel in one direction, (11,)."""
    # SciPy is imported here, because a regularizer imports this module, and most trainings blur nothing.
    from scipy.ndimage import gaussian_filter1d  # type: ignore[import-untyped, unused-ignore]

    kernel: NDArray[np.float64] = gaussian_filter1d(np.eye(_SIZE)[_SIZE // 2], _SIGMA)
    return kernel
