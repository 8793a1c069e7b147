"""Maps in [0, 1]."""

from __future__ import annotations

import torch
from torch import Tensor


def normalize(cams: Tensor) -> Tensor:
    """Scale each map from its minimum to its maximum, (m - min m) / (max m - min m); a flat map becomes zeros.

    Differentiable. A flat map gets a zero gradient, not NaN. A map that contains a NaN becomes NaN everywhere, so that
    it is not mistaken for a flat one; it does not affect the other maps of the batch.

    Args:
        cams: The maps, (N, h, w), raw.

    Returns:
        (N, h, w) in [0, 1].

    Example:
        >>> normalize(torch.tensor([[[1.0, 3.0]], [[2.0, 2.0]]]))
        tensor([[[0., 1.]],
        <BLANKLINE>
                [[0., 0.]]])
    """
    low = cams.amin(dim=(-2, -1), keepdim=True)
    span = cams.amax(dim=(-2, -1), keepdim=True) - low
    # The denominator is made safe before the division: a NaN in the unused branch would still reach the gradient.
    flat = span <= 0
    return torch.where(flat, torch.zeros_like(cams), (cams - low) / torch.where(flat, torch.ones_like(span), span))
