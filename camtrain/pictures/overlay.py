"""A map in color over its image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from camtrain.messages import checked_number, nearest_names
from camtrain.pictures.object_outline import (
    OUTLINE_COLOR,
    ObjectOutline,
    grown,
    line_width,
    mask_edge,
    outline_edges,
)
from camtrain.pictures.shown_channels import shown_colors

if TYPE_CHECKING:
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

MAP_COLORS = "red: the map is high, blue: low"
"""What a sheet says of the colors of maps, which are those of `turbo`."""

_CONTOUR_COLOR = (255, 255, 255)
_ROUNDING = 1e-3  # values outside [0, 1] by at most this are clamped; by more, they are an error


def overlay(
    image: Tensor,
    cam: Tensor,
    colormap: str | Colormap = "turbo",
    opacity: float = 0.5,
    *,
    gray: bool = True,
    contour: float | Sequence[float] | None = None,
    boxes: Tensor | Sequence[Tensor] | None = None,
    masks: Tensor | None = None,
) -> Tensor:
    """Draw a map in color over its image, with lines where it reaches a value and around the objects.

        overlay = opacity · colormap(cam) + (1 - opacity) · image

    By default, the image is shown in gray, so that every color in the picture comes from the map. `pil_image` makes a
    PIL image of the result, and `overlay_figure` a matplotlib figure with a color bar.

    Args:
        image: One image in RGB, (3, H, W), or in gray, (1, H, W), or a batch, (N, 3, H, W) or (N, 1, H, W), with values
            in [0, 1] (not normalized by mean and standard deviation; see `denormalized`). `shown_colors` picks channels
            of images that have others.
        cam: The map of the image, (H, W), or of each image, (N, H, W), with values in [0, 1], as
            `camtrain.image_maps` returns it.
        colormap: The name of a matplotlib colormap, or a `matplotlib.colors.Colormap`.
        opacity: The weight of the map's color, from 0 (the image alone) to 1 (the colors alone).
        gray: Whether the image is shown in gray (the mean of its colors) or in its own colors.
        contour: A value from 0 to 1, or several: white lines around the pixels where the map is at least as high. With
            `opacity` 0, they alone show the map.
        boxes: The boxes of the image's objects, (M, 4) xyxy in pixels, half-open; of a batch, one such tensor for each
            image. They are drawn in green.
        masks: The mask of the objects, (H, W) bool; of a batch, (N, H, W). Its edge is drawn in green.

    Returns:
        RGB in [0, 1], (3, H, W) or (N, 3, H, W), at least float32, on the CPU and detached.

    Raises:
        ValueError: If the shapes do not fit, values are NaN or lie outside [0, 1], there is no such colormap, or
            `opacity` or `contour` is not in [0, 1].
        TypeError: If `image` or `cam` is not a floating-point tensor, or `colormap` or `opacity` has another type.

    Example:
        >>> image, cam = torch.rand(2, 3, 32, 48), torch.rand(2, 32, 48)
        >>> overlay(image, cam).shape
        torch.Size([2, 3, 32, 48])
        >>> overlay(image[0], cam[0], "viridis", opacity=0.7, gray=False).shape
        torch.Size([3, 32, 48])
        >>> boxes = torch.tensor([[4.0, 4.0, 20.0, 30.0]])
        >>> overlay(image[0], cam[0], contour=[0.25, 0.5], boxes=boxes, opacity=0).shape
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
    drawn = opacity * colors + (1 - opacity) * photo
    levels = _levels(contour)
    if not levels and boxes is None and masks is None:
        return drawn
    if image.dim() == 4:
        outlines = _outlines(image, boxes, masks)
        pictures = [_with_lines(*each, levels) for each in zip(drawn, cam, outlines, strict=True)]
        return torch.stack(pictures) if pictures else drawn
    (outline,) = _outlines(image[None], None if boxes is None else [boxes], None if masks is None else masks[None])
    return _with_lines(drawn, cam, outline, levels)


def _levels(contour: float | Sequence[float] | None) -> list[float]:
    if contour is None:
        return []
    several = isinstance(contour, Sequence) and not isinstance(contour, str)
    found: Sequence[Any] = contour if several else [contour]  # type: ignore[assignment]
    return [checked_number("contour", each, "values from 0 to 1", at_least=0, at_most=1) for each in found]


def _outlines(images: Tensor, boxes: Any, masks: Tensor | None) -> list[ObjectOutline | None]:
    """The outline of the objects of each image."""
    count = len(images)
    of_images = [None] * count if boxes is None else list(boxes)
    expected = "(M, 4), for one image" if count == 1 else f"one tensor (M, 4) for each of {count} images"
    if len(of_images) != count:
        raise ValueError(f"`boxes`: expected {expected}, got {len(of_images)}")
    for each in of_images:
        if each is not None and not (isinstance(each, Tensor) and each.dim() == 2 and each.shape[1] == 4):
            got = tuple(each.shape) if isinstance(each, Tensor) else type(each).__name__
            raise ValueError(f"`boxes`: expected {expected}, got {got}")
    if masks is not None and masks.shape != (count, *images.shape[-2:]):
        size = tuple(images.shape[-2:])
        raise ValueError(f"`masks`: expected masks of the size of the image, {size}, got {tuple(masks.shape[1:])}")
    of_masks = [None] * count if masks is None else list(masks)
    return [ObjectOutline.of(*each) for each in zip(images, of_images, of_masks, strict=True)]


def _with_lines(picture: Tensor, cam: Tensor, outline: ObjectOutline | None, levels: list[float]) -> Tensor:
    height, width = picture.shape[-2:]
    line = line_width(height, width)
    # The lines of the objects come last, and stay whole.
    edges = [(torch.from_numpy(mask_edge(cam >= level, line, height, width)), _CONTOUR_COLOR) for level in levels]
    if outline is not None:
        edges.append((torch.from_numpy(outline_edges(outline, height, width, line)), OUTLINE_COLOR))
    for where, color in edges:
        picture = picture.masked_fill(torch.from_numpy(grown(where.numpy(), line)), 0.0)
        picture = torch.where(where, torch.tensor(color, dtype=picture.dtype).view(3, 1, 1) / 255, picture)
    return picture


def pil_image(picture: Tensor) -> Image.Image:
    """A picture, such as one of `overlay`, as a PIL image.

    Args:
        picture: (3, H, W) in [0, 1].

    Raises:
        ValueError: If it has another shape, or values are NaN or lie outside [0, 1].
        TypeError: If it is not a floating-point tensor.

    Example:
        >>> pil_image(overlay(torch.rand(3, 32, 48), torch.rand(32, 48))).size
        (48, 32)
    """
    values = _fractions("picture", picture, "use what `overlay` returns")
    if values.dim() != 3 or values.shape[0] != 3:
        raise ValueError(f"`picture`: expected one picture, (3, H, W), got {tuple(values.shape)}")
    return Image.fromarray((255 * values).round().to(torch.uint8).permute(1, 2, 0).numpy())


def overlay_figure(
    image: Tensor, cam: Tensor, colormap: str | Colormap = "turbo", opacity: float = 0.5, *, title: str = "", **how: Any
) -> Figure:
    """An overlay as a matplotlib figure, with a color bar that says which value has which color.

    Args:
        image: One image, as for `overlay`.
        cam: Its map.
        colormap: As for `overlay`.
        opacity: As for `overlay`.
        title: The title above.
        how: Further arguments of `overlay`.

    Raises:
        ValueError: As `overlay`, or if it is a batch.
        TypeError: As `overlay`.

    Example:
        >>> len(overlay_figure(torch.rand(3, 32, 48), torch.rand(32, 48), title="Grad-CAM").axes)
        2
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

    picture = pil_image(overlay(image, cam, colormap, opacity, **how))
    figure = Figure(figsize=(4.6, 4.0 * picture.height / picture.width + 0.4), layout="constrained")
    axes = figure.add_subplot(title=title, xticks=[], yticks=[])
    axes.imshow(np.asarray(picture))
    figure.colorbar(ScalarMappable(cmap=_colormap(colormap)), ax=axes, label="value of the map")
    return figure


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
