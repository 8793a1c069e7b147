"""Pictures as a viewer shows them: turned as their EXIF orientation says, and on one color where they are transparent.

A camera that is held upright stores its picture lying on its side, with a number from 1 to 8 that says how to turn it.
"""

from __future__ import annotations

import warnings
from typing import Literal

import torch
from PIL import ExifTags, Image
from torch import Tensor

AnnotationPixels = Literal["shown", "stored"]
"""What boxes and masks were drawn on: the picture as a viewer shows it, or its pixels as the file stores them."""

BACKGROUND = (255, 255, 255)
"""The color behind transparent pixels: white, as on a page."""

_METHODS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# For each orientation: whether rows and columns change places, and then which of x and y runs backward.
_TURNS = {
    1: (False, False, False),
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation of an image that has not been loaded, 1 to 8; 1 where it says none that can be read.

    In a PNG file only what comes before the pixels counts, so that the header is enough.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other entries, which nobody reads here
            # That of PNG files would read the pixels.
            orientation = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
    except Exception:  # a viewer too shows a picture whose EXIF is damaged
        return 1
    return orientation if orientation in _TURNS else 1


def lies_on_its_side(orientation: int) -> bool:
    """Whether width and height of the stored and of the shown picture change places.

    Example:
        >>> lies_on_its_side(6), lies_on_its_side(3)
        (True, False)
    """
    return _TURNS[orientation][0]


def turn_to_do(image: Image.Image) -> int:
    """The orientation by which a loaded image has still to be turned; ask before it is loaded.

    It is 1 for a TIFF file, which Pillow itself turns as it loads it.
    """
    return 1 if image.format == "TIFF" else orientation_of(image)


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """A loaded image, turned as an orientation says.

    Example:
        >>> turned(Image.new("L", (3, 1)), 6).size
        (1, 3)
    """
    method = _METHODS.get(orientation)
    return image if method is None else image.transpose(method)


def opaque_rgb(image: Image.Image) -> Image.Image:
    """A loaded image as RGB, on `BACKGROUND` where it is transparent.

    Example:
        >>> opaque_rgb(Image.new("RGBA", (1, 1), (255, 0, 0, 0))).getpixel((0, 0))
        (255, 255, 255)
    """
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    colors = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", colors.size, BACKGROUND), colors).convert("RGB")


def upright_pixels(pixels: Tensor, orientation: int) -> Tensor:
    """Stored pixels (..., H, W) as they are shown.

    Example:
        >>> upright_pixels(torch.tensor([[1, 2, 3]]), 6)
        tensor([[1],
                [2],
                [3]])
    """
    swapped, backward_x, backward_y = _TURNS[orientation]
    turned = pixels.transpose(-1, -2) if swapped else pixels
    dims = [dim for dim, backward in ((-1, backward_x), (-2, backward_y)) if backward]
    return turned.flip(dims).contiguous()


def upright_boxes(boxes: Tensor, orientation: int, size: tuple[int, int]) -> Tensor:
    """Boxes (M, 4) xyxy on the stored pixels, as boxes on the shown picture.

    Args:
        boxes: Half-open xyxy pixels.
        orientation: The EXIF orientation of their image.
        size: The height and width of the shown picture, in pixels.

    Example:
        >>> upright_boxes(torch.tensor([[0, 0, 2, 1]]), 6, (3, 1))  # a picture of 3x1 pixels, shown upright
        tensor([[0, 0, 1, 2]])
    """
    swapped, backward_x, backward_y = _TURNS[orientation]
    x0, y0, x1, y1 = (boxes[:, [1, 0, 3, 2]] if swapped else boxes).unbind(dim=1)
    height, width = size
    if backward_x:
        x0, x1 = width - x1, width - x0
    if backward_y:
        y0, y1 = height - y1, height - y0
    return torch.stack([x0, y0, x1, y1], dim=1)
