"""Reads images and masks from files, with errors that name the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2.functional import pil_to_tensor


def rgb_image(path: Path) -> tv_tensors.Image:
    """An image file as RGB, (3, H, W) uint8, as it is stored: EXIF orientation is not applied.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file cannot be read, or has more than 8 bits per channel (Pillow would saturate it to white).
    """
    with _opened(path) as image:
        if image.mode.startswith(("I", "F")):
            raise ValueError(f"mode {image.mode!r} has more than 8 bits per channel; convert it to 8 bits first")
        if "transparency" in image.info:
            image = image.convert("RGBA")  # Pillow warns if a transparent palette goes straight to RGB
        return tv_tensors.Image(pil_to_tensor(image.convert("RGB")))


def image_size(path: Path) -> tuple[int, int]:
    """Height and width of an image file in pixels, read from its header; raises the same errors as `rgb_image`."""
    with _opened(path) as image:
        return image.height, image.width


def label_map(path: Path) -> Tensor:
    """The numbers in a gray or palette file, (H, W) int64; raises the same errors as `rgb_image`."""
    with _opened(path) as image:
        array = np.asarray(image)
        if array.ndim != 2:
            raise ValueError(f"expected one number per pixel, got mode {image.mode!r}")
        return torch.from_numpy(array.astype(np.int64))


def object_mask(path: Path) -> Tensor:
    """A mask file as (H, W) bool, true where any channel except alpha is not zero.

    In a palette image, the index counts and not the color. Raises the same errors as `rgb_image`.
    """
    with _opened(path) as image:
        not_zero = np.atleast_3d(np.asarray(image)) != 0
        channels = not_zero.shape[2] - (image.getbands()[-1] == "A")
        return torch.from_numpy(not_zero[:, :, :channels].any(axis=2))


@cache
def readable_extensions() -> frozenset[str]:
    """The file extensions that Pillow opens here, in lower case and with the dot."""
    return frozenset(extension for extension, name in Image.registered_extensions().items() if name in Image.OPEN)


def image_paths(folder: Path) -> list[Path]:
    """All files below a folder with the extension of an image, sorted, except hidden files and folders."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in readable_extensions()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            yield image
    except FileNotFoundError:
        raise FileNotFoundError(f"no such image: {path}") from None
    except Exception as error:  # a damaged file makes Pillow raise almost anything: OSError, SyntaxError, struct.error
        raise ValueError(f"cannot read the image {path}: {error}") from error
