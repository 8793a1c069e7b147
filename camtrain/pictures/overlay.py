"""A map in color over its image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from camtrain.messages import checked_number, nearest_names
from camtrain.pictures.shown_channels import shown_colors

if TYPE_CHECKING:
    from matplotlib.colors import Colormap

MAP_COLORS = "red: the map is high, blue: low"
"""What a sheet says of the colors of maps, which are those of `turbo`."""

_ROUNDING = 1e-3  # values outside [0, 1] by at most this are clamped; by more, they are an error


def overlay(
    image: Tensor, cam: Tensor, colormap: str | Colormap = "turbo", opacity: float = 0.5, *, gray: bool = True
) -> Tensor:
    """Draw a map in color over its image.

        overlay = opacity · colormap(cam) + (1 - opacity) · image

    By default, the image is shown in gray, so that every color in the picture comes from the map.

    Args:
        image: One image in RGB, (3, H, W), or in gray, (1, H, W), or a batch, (N, 3, H, W) or (N, 1, H, W), with values
            in [0, 1] (not normalized by mean and standard deviation; see `denormalized`). `shown_colors` picks channels
            of images that have others.
        cam: The map of the image, (H, W), or of each image, (N, H, W), with values in [0, 1], as
            `camtrain.image_maps` returns it.
        colormap: The name of a matplotlib colormap, or a `matplotlib.colors.Colormap`.
        opacity: The weight of the map's color, from 0 (the image alone) to 1 (the colors alone).
        gray: Whether the image is shown in gray (the mean of its colors) or in its own colors.

    Returns:
        RGB in [0, 1], (3, H, W) or (N, 3, H, W), at least float32, on the CPU and detached.

    Raises:
        ValueError: If the shapes do not fit, values are NaN or lie outside [0, 1], there is no such colormap, or
            `opacity` is not in [0, 1].
        TypeError: If `image` or `cam` is not a floating-point tensor, or `colormap` or `opacity` has another type.

    Example:
        >>> image, cam = torch.rand(2, 3, 32, 48), torch.rand(2, 32, 48)
        >>> overlay(image, cam).shape
        torch.Size([2, 3, 32, 48])
        >>> overlay(image[0], cam[0], "viridis", opacity=0.7, gray=False).shape
        torch.Size([3, 32, 48])
    """
    opacity = checked_number("opacity", opacity, "a number from 0 to 1", at_least=0, at_most=1)
    image = _fractions("image", image, "undo the normalization of the images, with `camtrain.pictures.denormalized`")
    cam = _fractions("cam", cam, "use the maps of `camtrain.image_maps`, or `camtrain.cams.normalize` them")
    if image.dim() not in (3, 4) or image.shape[-3] not in (1, 3):
        hint = "; `camtrain.pictures.shown_colors` picks the channels to show" if image.dim() in (3, 4) else ""
        raise ValueError(f"`image`: expected (3, H, W) or (N, 3, H, W), got {tuple(image.shape)}{hint}")
    image = shown_colors(image)
    expected = (*image.shape[:-3], *image.shape[-2:])
    if cam.shape != expected:
        raise ValueError(
            f"`cam`: expected a map of the size of the image, {expected}, got {tuple(cam.shape)}; "
            "`camtrain.image_maps` makes maps of the size of the images"
        )
    colors = torch.from_numpy(_colormap(colormap)(cam.numpy())[..., :3]).float().movedim(-1, -3)
    photo = image.mean(dim=-3, keepdim=True) if gray else image
    return opacity * colors + (1 - opacity) * photo


def _fractions(name: str, values: Tensor, remedy: str) -> Tensor:
    """The values on the CPU, detached, at least float32, and clamped to [0, 1]."""
    if not isinstance(values, Tensor):
        raise TypeError(f"`{name}`: expected a tensor, got {type(values).__name__}")
    if not values.is_floating_point():
        raise TypeError(f"`{name}`: expected floating-point values from 0 to 1, got {values.dtype}")
    values = values.detach().cpu()
    values = values.to(torch.promote_types(values.dtype, torch.float32))
    if bool(values.isnan().any()):
        raise ValueError(f"`{name}`: expected values from 0 to 1, got NaN")
    if bool(((values < -_ROUNDING) | (values > 1 + _ROUNDING)).any()):
        low, high = values.aminmax()
        raise ValueError(f"`{name}`: expected values from 0 to 1, got {low:.3g} to {high:.3g}; {remedy}")
    return values.clamp(0, 1)


def _colormap(colormap: str | Colormap) -> Colormap:
    from matplotlib import colormaps
    from matplotlib.colors import Colormap

    if isinstance(colormap, Colormap):
        return colormap
    if not isinstance(colormap, str):
        raise TypeError(f"`colormap`: expected a name or a matplotlib Colormap, got {type(colormap).__name__}")
    if colormap not in colormaps:
        raise ValueError(f"`colormap`: none is called {colormap!r}; {nearest_names(colormap, colormaps)}")
    return colormaps[colormap]
