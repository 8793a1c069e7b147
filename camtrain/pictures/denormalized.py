"""Normalized images back to RGB."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def denormalized(images: Tensor, data: Any = None) -> Tensor:
    """Turn normalized images back to RGB: with the data module, or each image scaled from its minimum to its maximum.

    Args:
        images: Images as a network expects them, (N, 3, H, W), normalized.
        data: A data module; its method `denormalize` is used if it has one.

    Returns:
        (N, 3, H, W) in [0, 1].

    Example:
        >>> denormalized(torch.tensor([-1.0, 3.0]).expand(1, 3, 1, 2))[0, 0]
        tensor([[0., 1.]])
    """
    if hasattr(data, "denormalize"):
        return data.denormalize(images)  # type: ignore[no-any-return]
    low = images.amin(dim=(1, 2, 3), keepdim=True)
    span = images.amax(dim=(1, 2, 3), keepdim=True) - low
    return (images - low) / torch.where(span > 0, span, 1.0)
