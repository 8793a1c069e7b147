"""The largest image that is read: a small file may hold an image that fills the memory."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from PIL import Image

VARIABLE = "CAMTRAIN_MAX_PIXELS"
"""The environment variable that sets another limit."""

DEFAULT = 8192 * 6144
"""The largest photographs of a camera of 50 megapixels. Such an image takes about 500 MB while it is read."""

_ONE_AT_A_TIME = Lock()


def pixel_limit() -> int:
    """The largest number of pixels of an image that is read: `CAMTRAIN_MAX_PIXELS` in the environment, or 8192 · 6144.

    It protects a machine, and changes no number that is computed, so that it belongs to no configuration.

    Raises:
        ValueError: If the environment variable is no positive number.

    Example:
        >>> pixel_limit()
        50331648
    """
    given = os.environ.get(VARIABLE, "").strip()
    if not given:
        return DEFAULT
    if not given.isdecimal() or int(given) == 0:
        raise ValueError(f"`{VARIABLE}`: expected a positive number of pixels in the environment, got {given!r}")
    return int(given)


def check_pixels(width: int, height: int, limit: int) -> None:
    """Check the size of an image, which its header says, before its pixels are read.

    Raises:
        ValueError: If it has no pixels, or more than the limit.

    Example:
        >>> check_pixels(13_000, 13_000, 8192 * 6144)
        Traceback (most recent call last):
        ValueError: it has 13000x13000 pixels (width x height), more than 50331648; scale it down, or set
        CAMTRAIN_MAX_PIXELS=169000000 in the environment if it is to be trusted
    """
    if width < 1 or height < 1:
        raise ValueError(f"it has no pixels: its size is {width}x{height} (width x height)")
    if width * height > limit:
        raise ValueError(
            f"it has {width}x{height} pixels (width x height), more than {limit}; scale it down, or set "
            f"{VARIABLE}={width * height} in the environment if it is to be trusted"
        )


@contextmanager
def pillows_limit(limit: int | None) -> Iterator[None]:
    """Replace the limit of Pillow itself, which is global.

    Args:
        limit: The largest number of pixels that Pillow does not refuse, or one more; `None` refuses nothing.
    """
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        found = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None if limit is None else (limit + 1) // 2  # it refuses twice as many
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = found
