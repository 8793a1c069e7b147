"""Reads images and masks from files, with errors that name the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image, UnidentifiedImageError
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2.functional import pil_to_tensor

from camtrain.data.pixel_limit import check_pixels, pillows_limit, pixel_limit
from camtrain.data.sixteen_bits import check_eight_bits
from camtrain.messages import DataError, MissingImageError

# Files that hold an image file of a size of its own.
_HOLD_FILES = ("ICO", "ICNS", "BLP")


def rgb_image(path: Path) -> tv_tensors.Image:
    """An image file as RGB, (3, H, W) uint8, as it is stored: EXIF orientation is not applied.

    Raises:
        MissingImageError: If there is no such file; it is a `FileNotFoundError` too.
        DataError: If the file cannot be read, has more pixels than `pixel_limit()`, or more than 8 bits per channel
            (Pillow would drop the lower ones, or saturate to white); it is a `ValueError`.
    """
    return tv_tensors.Image(pil_to_tensor(rgb_picture(path)))


def rgb_picture(path: Path) -> Image.Image:
    """The same as a PIL image; raises the same errors as `rgb_image`."""
    with _opened(path) as image:
        if image.mode.startswith(("I", "F")):
            raise ValueError(f"mode {image.mode!r} has more than 8 bits per channel; convert it to 8 bits first")
        _load(image)
        if "transparency" in image.info:
            image = image.convert("RGBA")  # Pillow warns if a transparent palette goes straight to RGB
        return image if image.mode == "RGB" else image.convert("RGB")


def exif_orientation(path: Path) -> int | None:
    """How an image file says that it is to be turned; raises the same errors as `rgb_image`."""
    with _opened(path) as image:
        return image.getexif().get(ExifTags.Base.Orientation)


def image_size(path: Path) -> tuple[int, int]:
    """Height and width of an image file in pixels, read from its header; raises the same errors as `rgb_image`."""
    with _opened(path) as image:
        return image.height, image.width


def label_map(path: Path) -> Tensor:
    """The numbers in a gray or palette file, (H, W) int64; raises the same errors as `rgb_image`."""
    with _opened(path) as image:
        array = _array(image)
        if array.ndim != 2:
            raise ValueError(f"expected one number per pixel, got mode {image.mode!r}")
        return torch.from_numpy(array.astype(np.int64))


def object_mask(path: Path) -> Tensor:
    """A mask file as (H, W) bool, true where any channel except alpha is not zero.

    In a palette image, the index counts and not the color. Raises the same errors as `rgb_image`.
    """
    with _opened(path) as image:
        not_zero = np.atleast_3d(_array(image)) != 0
        channels = not_zero.shape[2] - (image.getbands()[-1] == "A")
        return torch.from_numpy(not_zero[:, :, :channels].any(axis=2))


@cache
def readable_extensions() -> frozenset[str]:
    """The file extensions that Pillow opens here, in lower case and with the dot."""
    return frozenset(extension for extension, name in Image.registered_extensions().items() if name in Image.OPEN)


def image_paths(folder: Path) -> list[Path]:
    """All files below a folder with the extension of an image, sorted, except hidden files and folders."""
    return [path for path in _named_as_images(folder) if path.is_file()]


def no_images(folder: Path) -> list[Path]:
    """What is below a folder with the name of an image and cannot be one, sorted: empty folders and dead links."""
    return [
        path
        for path in _named_as_images(folder)
        if not path.is_file() and not (path.is_dir() and any(image_paths(path)))
    ]


def _named_as_images(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in readable_extensions()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """An image whose header was read and checked, and whose pixels were not."""
    limit = pixel_limit()
    try:
        with _header(path, limit) as image:
            check_pixels(*image.size, limit)
            check_eight_bits(image)
            yield image
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


def _load(image: Image.Image) -> None:
    """Read the pixels."""
    if image.format in _HOLD_FILES:
        with pillows_limit(pixel_limit()):
            image.load()
    else:
        image.load()


def _array(image: Image.Image) -> np.ndarray:
    _load(image)
    return np.asarray(image)


def _reason(path: Path, error: Exception) -> str:
    """What is wrong, without the path, which Pillow and the operating system name in some messages."""
    if isinstance(error, UnidentifiedImageError):
        return "it is empty" if path.stat().st_size == 0 else "it is no image of a type that Pillow reads"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[:1].lower() + error.strerror[1:]
    return str(error) or type(error).__name__
