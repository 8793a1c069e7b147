"""Images with all their channels, as they are stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torchvision import tv_tensors

from camtrain.data.array_file import is_array_file
from camtrain.data.image_file import load_pixels, opened_array, opened_image
from camtrain.data.sixteen_bits import dropped_bits
from camtrain.data.upright import turn_to_do, upright_pixels
from camtrain.pixel_format import PixelFormat

_NO_COLORS = ("1", "P", "PA")  # modes whose numbers are not brightnesses


def stored_image(path: Path, pixel_format: PixelFormat) -> tv_tensors.Image:
    """An image file with all its channels, (C, H, W): uint8 if it is of bytes, otherwise float32.

    It is turned as its EXIF orientation says. A channel of transparency is a channel as any other. Of a file with
    several pictures, the first is read; pages of one size in a TIFF file are channels.

    Args:
        path: A file that Pillow reads, TIFF (which takes tifffile), or an array in NumPy's `.npy`.
        pixel_format: What it holds.

    Raises:
        MissingImageError: If there is no such file; it is a `FileNotFoundError` too.
        DataError: If it holds something else, cannot be read, or has more pixels than `pixel_limit()`; it is a
            `ValueError`.
        ModuleNotFoundError: If it is a TIFF file, and tifffile is not installed.
    """
    if is_array_file(path):
        with opened_array(path, pixel_format) as found:
            pixel_format.check(found.channels, found.pixel_type)  # before a large file is read
            pixels, orientation = pixel_format.scaled(found.read()), found.orientation
    else:
        with opened_image(path, eight_bits=False) as image:
            orientation = turn_to_do(image)
            pixels = pixel_format.scaled(_numbers(image))
    return tv_tensors.Image(upright_pixels(pixels, orientation))


def stored_picture(picture: Image.Image, pixel_format: PixelFormat) -> tv_tensors.Image:
    """The same of a picture in memory.

    Raises:
        ValueError: If it holds something else.
    """
    orientation = turn_to_do(picture)
    return tv_tensors.Image(upright_pixels(pixel_format.scaled(_numbers(picture)), orientation))


def _numbers(image: Image.Image) -> NDArray[Any]:
    """The numbers of an image, (C, H, W), the colors of a palette in their place."""
    if bits := dropped_bits(image):
        raise ValueError(f"it has {bits} bits per channel, of which Pillow reads 8; save it as TIFF or as a .npy array")
    is_png = image.format == "PNG"
    load_pixels(image)
    if image.mode in _NO_COLORS:
        image = image.convert("L" if image.mode == "1" else "RGBA" if image.has_transparency_data else "RGB")
    numbers = np.asarray(image)
    # Pillow says 32 bits of some PNG files, which have no more than 16.
    numbers = numbers.astype(np.uint16 if is_png and image.mode == "I" else numbers.dtype.newbyteorder("="))
    return numbers[None] if numbers.ndim == 2 else np.moveaxis(numbers, -1, 0)
