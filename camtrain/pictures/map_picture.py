"""A map over its image."""

from __future__ import annotations

import torch
from matplotlib import colormaps
from torch import Tensor

_COLORS = "turbo"


def map_picture(picture: Tensor, cam: Tensor) -> Tensor:
    """A map in color over its image in gray.

    Args:
        picture: (3, H, W) RGB in [0, 1].
        cam: (H, W) in [0, 1].

    Returns:
        (3, H, W) in [0, 1].
    """
    colors = torch.from_numpy(colormaps[_COLORS](cam.numpy())[..., :3]).float().permute(2, 0, 1)
    gray = picture.mean(dim=0, keepdim=True)
    return 0.5 * colors + 0.5 * gray
