"""Which pixels of a mask file are the object: what a viewer shows, or a reason to refuse the file."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_LOSSY = ("JPEG", "MPO")


def check_one_picture(image: Image.Image) -> None:
    """Check, before it is loaded, that a mask file holds one picture, of which no other could be meant.

    Raises:
        ValueError: If it holds several.
    """
    count = getattr(image, "n_frames", 1)
    if count > 1:
        raise ValueError(f"it holds {count} pictures, and a mask is one; save each as a file of its own")


def object_pixels(image: Image.Image) -> NDArray[np.bool_]:
    """The pixels of a loaded mask that are not black, (H, W) bool.

    Raises:
        ValueError: If what a viewer shows and the numbers in the file disagree: a palette that shows index 0 in a
            color, or another index in black; transparent pixels with a color, or black ones beside transparent ones; a
            JPEG with other values than 0 and 255, whose compression leaves numbers that are not zero around the object;
            numbers that are not finite.

    Example:
        >>> object_pixels(Image.fromarray(np.array([[0, 1]], dtype=np.uint8)))
        array([[False,  True]])
    """
    if image.mode.startswith(("I", "F")):
        numbers = np.asarray(image)
        if not np.isfinite(numbers).all():
            raise ValueError("it holds numbers that are not finite")
        return np.asarray(numbers != 0)
    colors = _colors(image)
    if image.format in _LOSSY and not np.isin(colors, (0, 255)).all():
        raise ValueError(
            "as a JPEG it has numbers that are not zero around the object, from its compression; save the mask as PNG"
        )
    is_colored = (colors != 0).any(axis=2)
    if image.mode == "P" and not np.array_equal(np.asarray(image) != 0, is_colored):
        raise ValueError(
            "its palette shows index 0 in a color, or another index in black, so that its numbers and what a viewer "
            "shows disagree; save the mask in gray"
        )
    if image.has_transparency_data:
        _check_transparency(np.asarray(image.convert("RGBA"))[:, :, 3] > 0, is_colored)
    return np.asarray(is_colored)


def _colors(image: Image.Image) -> NDArray[np.uint8]:
    """(H, W, 3), transparency aside."""
    if image.has_transparency_data:
        image = image.convert("RGBA")
    return np.asarray(image.convert("RGB"))


def _check_transparency(is_visible: NDArray[np.bool_], is_colored: NDArray[np.bool_]) -> None:
    if not is_visible.all() and not np.array_equal(is_visible, is_colored):
        raise ValueError(
            "some of its pixels are transparent, and it is not clear whether these are the background; save the mask "
            "without transparency, in black and white"
        )
