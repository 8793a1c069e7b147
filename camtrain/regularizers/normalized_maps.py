"""Maps without their scale, as penalties compare them."""

from __future__ import annotations

import torch
from torch import Tensor


def positive_by_maximum(cams: Tensor) -> tuple[Tensor, Tensor]:
    """The positive part of each map divided by its largest value, and which maps have a positive value.

    It is differentiable, also through the largest value. A map without a positive value becomes zeros with a zero
    gradient.

    Args:
        cams: (N, H, W), raw.

    Returns:
        (N, H, W) in [0, 1], and (N,) bool.

    Example:
        >>> positive_by_maximum(torch.tensor([[[4.0, -1.0]], [[-2.0, 0.0]]]))
        (tensor([[[1., 0.]],
        <BLANKLINE>
                [[0., 0.]]]), tensor([ True, False]))
    """
    positive = cams.relu()
    return _divided(positive, positive)


def by_largest_magnitude(cams: Tensor) -> tuple[Tensor, Tensor]:
    """Each map divided by its largest magnitude, in [-1, 1], and which maps are not zero; see `positive_by_maximum`."""
    return _divided(cams, cams.abs())


def by_norm(cams: Tensor) -> tuple[Tensor, Tensor]:
    """Each map divided by its Euclidean norm, and which maps are not zero; see `positive_by_maximum`.

    Example:
        >>> by_norm(torch.tensor([[[3.0, 4.0]]]))[0]
        tensor([[[0.6000, 0.8000]]])
    """
    norms = torch.linalg.vector_norm(cams.flatten(1), dim=1).view(-1, 1, 1)
    return _safely(cams, norms)


def _divided(cams: Tensor, magnitudes: Tensor) -> tuple[Tensor, Tensor]:
    return _safely(cams, magnitudes.amax(dim=(-2, -1), keepdim=True))


def _safely(cams: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
    # The divisor is made safe before the division: a NaN in an unused branch would still reach the gradient. A map
    # whose size is below the smallest normal number counts as zero.
    alive = ~(sizes <= torch.finfo(cams.dtype).tiny)
    normalized = torch.where(alive, cams / torch.where(alive, sizes, torch.ones_like(sizes)), torch.zeros_like(cams))
    return normalized, alive.flatten()
