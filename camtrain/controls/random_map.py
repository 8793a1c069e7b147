"""Smooth noise."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from camtrain.cams import normalize, resize
from camtrain.controls.base_control import BaseControl
from camtrain.controls.content_seeds import content_seeds
from camtrain.gradients import ClassIndex
from camtrain.messages import checked_seed

_GRID = 7  # as many cells as a map of a ResNet has at 224 pixels


def random_maps(images: Tensor, seed: int = 0) -> Tensor:
    """Smooth noise for each image: uniform noise on a grid of 7 × 7, resized to the image, from 0 to 1.

    The noise of an image is drawn with a seed that depends on the image's values and on `seed`, so that it does not
    depend on the other images of the batch.

    Args:
        images: (N, C, H, W) images.
        seed: The seed.

    Returns:
        (N, H, W) on the device of the images, at least float32.

    Example:
        >>> images = torch.rand(3, 3, 16, 24)
        >>> maps = random_maps(images)
        >>> maps.shape, torch.equal(maps[1:2], random_maps(images[1:2]))
        (torch.Size([3, 16, 24]), True)
    """
    noise = [
        torch.rand(_GRID, _GRID, generator=torch.Generator().manual_seed(each)) for each in content_seeds(images, seed)
    ]
    grids = torch.stack(noise) if noise else torch.zeros(0, _GRID, _GRID)
    height, width = images.shape[-2:]
    if not noise:
        return torch.zeros(0, height, width, device=images.device)
    return normalize(resize(grids, (height, width))).to(images.device, torch.promote_types(images.dtype, torch.float32))


class RandomMap(BaseControl):
    """Smooth noise for each image; see `random_maps`.

    Args:
        network: The network whose maps the control is compared with.
        seed: The seed of the noise.

    Cost:
        No pass.

    Example:
        >>> RandomMap(nn.Identity(), seed=1)(torch.rand(2, 3, 8, 8)).shape
        torch.Size([2, 8, 8])
    """

    def __init__(self, network: nn.Module, *, seed: int = 0) -> None:
        super().__init__(network)
        self.seed = checked_seed("seed", seed)

    def __call__(self, images: Tensor, class_idx: ClassIndex = None) -> Tensor:
        """Make the maps of a batch; see `BaseControl`. The classes do not matter."""
        return random_maps(images, self.seed)
