"""The ReLU at the end of a map."""

from __future__ import annotations

import torch
from torch import Tensor


def rectified(maps: Tensor, *, revived: bool = False) -> Tensor:
    """The positive part of each map.

    Args:
        maps: (N, h, w), of either sign.
        revived: Whether a map without a positive value keeps a gradient: that of the map divided by its mean magnitude.
            Otherwise the ReLU cuts it off, and no training can bring the map back. One of zeros has none.

    Returns:
        (N, h, w), not negative.

    Example:
        >>> maps = torch.tensor([[[-2.0, -6.0]]], requires_grad=True)
        >>> rectified(maps, revived=True).sum().backward()
        >>> maps.grad
        tensor([[[0.2500, 0.2500]]])
    """
    positive = maps.relu()
    if not (revived and maps.requires_grad):
        return positive
    tiny = torch.finfo(maps.dtype).tiny
    size = maps.detach().abs().mean(dim=(-2, -1), keepdim=True)
    # A map of zeros has no size that its gradient could be measured in.
    is_flat = (positive.detach().amax(dim=(-2, -1), keepdim=True) <= tiny) & (size > tiny)
    relative = torch.where(is_flat, maps, 0.0) / torch.where(is_flat, size, 1.0)
    return positive + (relative - relative.detach())  # adds zero, and a gradient
