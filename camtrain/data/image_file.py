"""Reads images and masks from files, with errors that name the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2.functional import pil_to_tensor

from camtrain.data.array_file import ARRAY_EXTENSIONS, ArrayFile, array_file, is_array_file
from camtrain.data.object_pixels import check_one_picture, object_pixels
from camtrain.data.pixel_limit import check_pixels, pillows_limit, pixel_limit
from camtrain.data.sixteen_bits import check_eight_bits
from camtrain.data.upright import (
    AnnotationPixels,
    lies_on_its_side,
    opaque_rgb,
    orientation_of,
    turn_to_do,
    turned,
    upright_pixels,
)
from camtrain.messages import DataError, MissingImageError
from camtrain.pixel_format import PixelFormat

# Files that hold an image file of a size of its own.
_HOLD_FILES = ("ICO", "ICNS", "BLP")


def rgb_image(path: Path) -> tv_tensors.Image:
    """An image file as RGB, (3, H, W) uint8, as a viewer shows it.

    It is turned as its EXIF orientation says, and transparent pixels lie on white. Of a file with several pictures, the
    first is read.

    Raises:
        MissingImageError: If there is no such file; it is a `FileNotFoundError` too.
        DataError: If the file cannot be read, has more pixels than `pixel_limit()`, or more than 8 bits per channel
            (Pillow would drop the lower ones, or saturate to white); it is a `ValueError`.
    """
    return tv_tensors.Image(pil_to_tensor(rgb_picture(path)))


def rgb_picture(path: Path) -> Image.Image:
    """The same as a PIL image; raises the same errors as `rgb_image`."""
    with opened_image(path) as image:
        if image.mode.startswith(("I", "F")):
            raise ValueError(f"mode {image.mode!r} has more than 8 bits per channel; convert it to 8 bits first")
        orientation = turn_to_do(image)
        load_pixels(image)
        return turned(opaque_rgb(image), orientation)


def image_orientation(path: Path, pixel_format: PixelFormat | None = None) -> int:
    """The EXIF orientation of an image file, 1 to 8; raises the same errors as `rgb_image`.

    Args:
        path: The image file.
        pixel_format: What it holds, if that is stated.
    """
    if pixel_format is not None and is_array_file(path):
        with opened_array(path, pixel_format) as found:
            return found.orientation
    with opened_image(path, eight_bits=pixel_format is None) as image:
        return orientation_of(image)


def image_size(
    path: Path, pixels: AnnotationPixels = "shown", pixel_format: PixelFormat | None = None
) -> tuple[int, int]:
    """Height and width of an image file in pixels, read from its header; raises the same errors as `rgb_image`.

    Args:
        path: The image file.
        pixels: `shown`: of the picture as a viewer shows it. `stored`: before it is turned as its EXIF says.
        pixel_format: What it holds, if that is stated.
    """
    if pixel_format is not None and is_array_file(path):
        with opened_array(path, pixel_format) as found:
            on_its_side = pixels == "shown" and lies_on_its_side(found.orientation)
            return (found.width, found.height) if on_its_side else (found.height, found.width)
    with opened_image(path, eight_bits=pixel_format is None) as image:
        # Of a TIFF file, Pillow gives the size that is shown.
        wanted = turn_to_do(image) if pixels == "shown" else orientation_of(image) if image.format == "TIFF" else 1
        return (image.width, image.height) if lies_on_its_side(wanted) else (image.height, image.width)


def label_map(path: Path) -> Tensor:
    """The numbers in a gray or palette file, as they are stored, (H, W) int64; raises the errors of `rgb_image`."""
    with opened_image(path) as image:
        array = _array(image)
        if array.ndim != 2:
            raise ValueError(f"expected one number per pixel, got mode {image.mode!r}")
        return torch.from_numpy(array.astype(np.int64))


def gray_numbers(path: Path) -> Tensor:
    """How bright the pixels of a file are, as they are stored, (H, W) uint8; raises the errors of `rgb_image`.

    A transparent pixel is an error.
    """
    with opened_image(path) as image:
        load_pixels(image)
        if image.has_transparency_data and np.asarray(image.convert("RGBA"))[:, :, 3].min() < 255:
            raise ValueError("some of its pixels are transparent; save it without transparency")
        return torch.from_numpy(np.array(image.convert("L")))


def object_mask(path: Path) -> Tensor:
    """A mask file as a viewer shows it, (H, W) bool, true where it is not black.

    It is turned as its own EXIF orientation says. Raises the same errors as `rgb_image`; a `DataError` too if the file
    holds several pictures, or if what a viewer shows and the numbers in it disagree (see `object_pixels`).
    """
    with opened_image(path) as image:
        check_one_picture(image)
        orientation = turn_to_do(image)
        load_pixels(image)
        return upright_pixels(torch.from_numpy(object_pixels(image)), orientation)


@cache
def readable_extensions(arrays: bool = False) -> frozenset[str]:
    """The file extensions that Pillow opens here, in lower case and with the dot.

    Args:
        arrays: Whether arrays are images too, which they are if the format of their pixels is stated.
    """
    known = frozenset(extension for extension, name in Image.registered_extensions().items() if name in Image.OPEN)
    return known | ARRAY_EXTENSIONS if arrays else known


@contextmanager
def opened_image(path: Path, eight_bits: bool = True) -> Iterator[Image.Image]:
    """An image whose header was read and checked, and whose pixels were not; errors are those of `rgb_image`.

    Args:
        path: The file.
        eight_bits: Whether an image whose lower bits Pillow would drop is refused.
    """
    limit = pixel_limit()
    with _naming(path), _header(path, limit) as image:
        check_pixels(*image.size, limit)
        if eight_bits:
            check_eight_bits(image)
        yield image


@contextmanager
def opened_array(path: Path, pixel_format: PixelFormat) -> Iterator[ArrayFile]:
    """The same of a file that holds an array; a TIFF file takes tifffile."""
    limit = pixel_limit()
    with _naming(path), array_file(path, pixel_format) as found:
        check_pixels(found.width, found.height, limit)
        yield found


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Errors of a file as `rgb_image` raises them, with its path."""
    try:
        yield
    except ModuleNotFoundError:  # nothing is wrong with the file
        raise
    except FileNotFoundError:
        raise MissingImageError(f"no such image: {path}") from None
    except Exception as error:  # a damaged file makes Pillow raise almost anything: OSError, SyntaxError, struct.error
        raise DataError(f"cannot read the image {path}: {_reason(path, error)}") from error


def _header(path: Path, limit: int) -> Image.Image:
    """An image of which the header was read; of an image with too many pixels, nothing else was."""
    try:
        with pillows_limit(limit):
            return Image.open(path)
    except Image.DecompressionBombError:
        # Pillow does not say the size. Files that hold another one are read when they are opened.
        safe = [name for name in Image.OPEN if name not in _HOLD_FILES]
        try:
            with pillows_limit(None):
                return Image.open(path, formats=safe)
        except UnidentifiedImageError:
            raise ValueError(f"it holds an image of more than {limit} pixels") from None


def load_pixels(image: Image.Image) -> None:
    """Read the pixels of an image that was opened."""
    if image.format in _HOLD_FILES:
        with pillows_limit(pixel_limit()):
            image.load()
    else:
        image.load()


def _array(image: Image.Image) -> np.ndarray:
    load_pixels(image)
    return np.asarray(image)


def _reason(path: Path, error: Exception) -> str:
    """What is wrong, without the path, which Pillow and the operating system name in some messages."""
    if isinstance(error, UnidentifiedImageError):
        return "it is empty" if path.stat().st_size == 0 else "it is no image of a type that Pillow reads"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[:1].lower() + error.strerror[1:]
    return str(error) or type(error).__name__
