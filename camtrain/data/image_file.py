"""Images and masks as they are read from files, with errors that name the file."""

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
    """An image file as (3, H, W) uint8 RGB, as it is stored: EXIF orientation is not applied.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it cannot be read, or has more than 8 bits per channel (Pillow would saturate it to white).
    """
    with _opened(path) as image:
        if image.mode.startswith(("I", "F")):
            raise ValueError(f"mode {image.mode!r} has more than 8 bits per channel; convert it to 8 bits first")
        if "transparency" in image.info:
            image = image.convert("RGBA")  # Pillow warns if a transparent palette goes straight to RGB
        return tv_tensors.Image(pil_to_tensor(image.convert("RGB")))


def image_size(path: Path) -> tuple[int, int]:
    """Height and width in pixels of an image file, from its header alone; raises as `rgb_image` does."""
    with _opened(path) as image:
        return image.height, image.width


def label_map(path: Path) -> Tensor:
    """A file of per-pixel numbers (gray or palette indices) as (H, W) int64; raises as `rgb_image` does."""
    with _opened(path) as image:
        array = np.asarray(image)
        if array.ndim != 2:
            raise ValueError(f"expected one number per pixel, got mode {image.mode!r}")
        return torch.from_numpy(array.astype(np.int64))


def object_mask(path: Path) -> Tensor:
    """A mask file as (H, W) bool, true where any channel is not zero; an alpha channel does not count.

    A palette image counts by its indices, not by its colors. Raises as `rgb_image` does.
    """
    with _opened(path) as image:
        not_zero = np.atleast_3d(np.asarray(image)) != 0
        channels = not_zero.shape[2] - (image.getbands()[-1] == "A")
        return torch.from_numpy(not_zero[:, :, :channels].any(axis=2))


@cache
def readable_extensions() -> frozenset[str]:
    """Lower-case file extensions, with the dot, of the image formats that Pillow opens here."""
    return frozenset(extension for extension, name in Image.registered_extensions().items() if name in Image.OPEN)


def image_paths(folder: Path) -> list[Path]:
    """All image files below a folder, by extension, sorted; names that start with a dot are left out."""
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
