"""A Gaussian in the center of the image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from camtrain.controls.base_control import BaseControl
from camtrain.gradients import ClassIndex
from camtrain.messages import checked_number


def center_map(size: tuple[int, int], sigma: float = 0.25) -> Tensor:
    """A Gaussian in the center of an image.

        m(y, x) = exp(−½ ((y − y₀) / σH)² − ½ ((x − x₀) / σW)²),    y₀ = (H − 1) / 2, x₀ = (W − 1) / 2

    Args:
        size: The size of the image, (H, W), in pixels.
        sigma: σ, the standard deviation as a fraction of the image's height and width.

    Returns:
        (H, W) float32 in (0, 1]; 1 at the center. With σ = 1/4 the corners have about exp(−4) = 0.02.

    Example:
        >>> center_map((1, 3))  # the outer pixels are 1 / (3 σ) standard deviations away
        tensor([[0.4111, 1.0000, 0.4111]])
    """
    sides = []
    for length in size:
        places = torch.arange(length, dtype=torch.float32) - (length - 1) / 2
        sides.append(torch.exp(-0.5 * (places / (sigma * length)) ** 2))
    return sides[0].unsqueeze(1) * sides[1]


class CenterMap(BaseControl):
    """A Gaussian in the center of every image; see `center_map`.

    Photographers put objects in the center, and a map that shows it scores well for no reason that has to do with the
    network.

    Args:
        network: The network whose maps the control is compared with.
        sigma: The standard deviation, as a fraction of the image's height and width.

    Raises:
        ValueError: If `sigma` is not positive.

    Cost:
        No pass.

    Example:
        >>> CenterMap(nn.Identity())(torch.rand(2, 3, 8, 8)).shape
        torch.Size([2, 8, 8])
    """

    def __init__(self, network: nn.Module, *, sigma: float = 0.25) -> None:
        super().__init__(network)
        self.sigma = checked_number("sigma", sigma, "a positive fraction of the image's side", above=0)

    def __call__(self, images: Tensor, class_idx: ClassIndex = None) -> Tensor:
        """Make the maps of a batch; see `BaseControl`. The classes do not matter."""
        dtype = torch.promote_types(images.dtype, torch.float32)
        height, width = images.shape[-2:]
        one = center_map((height, width), self.sigma).to(images.device, dtype)
        return one.expand(len(images), height, width).clone()
