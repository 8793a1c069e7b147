"""Normalized images back to pictures."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from camtrain.pictures.shown_channels import shown_colors


def denormalized(images: Tensor, data: Any = None) -> Tensor:
    """Turn normalized images back to RGB: with the data module, or each image scaled from its minimum to its maximum.

    Args:
        images: Images as a network expects them, (N, C, H, W), normalized.
        data: A data module; its method `denormalize` is used if it has one, and its `shown_channels` as `shown_colors`
            takes them.

    Returns:
        (N, 3, H, W) in [0, 1].

    Raises:
        ValueError: If the images do not have the channels that the data module shows.

    Example:
        >>> denormalized(torch.tensor([-1.0, 3.0]).expand(1, 3, 1, 2))[0, 0]
        tensor([[0., 1.]])
    """
    if hasattr(data, "denormalize"):
        whole: Tensor = data.denormalize(images)
        is_whole = whole.shape[-3] == images.shape[-3]  # a user's own data module may make a picture of it
        return shown_colors(whole, getattr(data, "shown_channels", None) if is_whole else None)
    images = shown_colors(images)
    low = images.amin(dim=(1, 2, 3), keepdim=True)
    span = images.amax(dim=(1, 2, 3), keepdim=True) - low
    return (images - low) / torch.where(span > 0, span, 1.0)
