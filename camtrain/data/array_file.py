"""Files that hold an array of numbers, which Pillow would not read whole: NumPy's `.npy`, and TIFF."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from camtrain.pixel_format import PixelFormat

ARRAY_EXTENSIONS = frozenset({".npy"})
"""Extensions of images that Pillow does not know, in lower case."""

_TIFF_EXTENSIONS = frozenset({".tif", ".tiff"})
_ORIENTATION = 274  # the tag of a TIFF file


@dataclass(frozen=True)
class ArrayFile:
    """An array whose header was read, and whose numbers were not.

    Attributes:
        channels: C, the number of channels.
        height: H, as the file stores it.
        width: W, likewise.
        pixel_type: The name of the type of its numbers in NumPy.
        orientation: The EXIF orientation, 1 to 8.
        read: Reads the numbers, (C, H, W), as they are stored.
    """

    channels: int
    height: int
    width: int
    pixel_type: str
    orientation: int
    read: Callable[[], NDArray[Any]]


def is_array_file(path: Path) -> bool:
    """Whether a file is read as an array if the format of its pixels is stated.

    Example:
        >>> is_array_file(Path("tile.npy")), is_array_file(Path("tile.TIF")), is_array_file(Path("tile.png"))
        (True, True, False)
    """
    return path.suffix.lower() in ARRAY_EXTENSIONS | _TIFF_EXTENSIONS


@contextmanager
def array_file(path: Path, pixel_format: PixelFormat) -> Iterator[ArrayFile]:
    """The array in a file.

    Of a TIFF file with several pictures, the first is read; pages of one size are channels of one picture.

    Args:
        path: The file.
        pixel_format: What it should hold, which says how a `.npy` file is laid out.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds no picture; other errors if it is damaged.
        ModuleNotFoundError: If it is a TIFF file, and tifffile is not installed.
    """
    opened = _npy if path.suffix.lower() in ARRAY_EXTENSIONS else _tiff
    with opened(path, pixel_format) as found:
        yield found


@contextmanager
def _npy(path: Path, pixel_format: PixelFormat) -> Iterator[ArrayFile]:
    # Mapped into memory, so that a large array is refused before it is read.
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise ValueError("it holds several arrays")
    layout = "(C, H, W)" if pixel_format.channels_first else "(H, W, C)"
    if array.ndim == 2 and pixel_format.channels == 1:
        array = array[None] if pixel_format.channels_first else array[..., None]
    if array.ndim != 3:
        raise ValueError(f"expected an array {layout}, got one of shape {array.shape}")
    first = array if pixel_format.channels_first else np.moveaxis(array, -1, 0)
    other = array.shape[-1 if pixel_format.channels_first else 0]
    if len(first) != pixel_format.channels and other == pixel_format.channels:
        raise ValueError(
            f"`channels_first`: expected an array {layout} of {pixel_format.channels} channels, got one of shape "
            f"{array.shape}; set `channels_first: {str(not pixel_format.channels_first).lower()}` if all files are so"
        )
    channels, height, width = first.shape
    native = first.dtype.newbyteorder("=")
    yield ArrayFile(channels, height, width, first.dtype.name, 1, lambda: np.array(first, dtype=native))


@contextmanager
def _tiff(path: Path, _pixel_format: PixelFormat) -> Iterator[ArrayFile]:
    with _tifffile().TiffFile(path) as file:
        picture, page = file.series[0], file.series[0].keyframe
        if "Y" not in picture.axes or "X" not in picture.axes:
            raise ValueError(f"expected rows and columns, got an array with the axes {picture.axes}")
        places = picture.axes.index("Y"), picture.axes.index("X")
        rest = [length for place, length in enumerate(picture.shape) if place not in places]
        if sum(length > 1 for length in rest) > 1:
            raise ValueError(
                f"expected one picture, got an array of shape {picture.shape} with the axes {picture.axes}"
            )
        height, width = (picture.shape[place] for place in places)
        tag = page.tags.get(_ORIENTATION)
        orientation = 1 if tag is None or not 1 <= int(tag.value) <= 8 else int(tag.value)

        def read() -> NDArray[Any]:
            numbers: NDArray[Any] = np.moveaxis(picture.asarray(), places, (-2, -1)).reshape(-1, height, width)
            return numbers

        channels = int(np.prod(rest, dtype=np.int64))
        yield ArrayFile(channels, height, width, np.dtype(picture.dtype).name, orientation, read)


def _tifffile() -> Any:
    try:
        return importlib.import_module("tifffile")
    except ModuleNotFoundError as error:
        if error.name != "tifffile":
            raise
        raise ModuleNotFoundError(
            "`channels`: TIFF files with all their channels need `pip install 'camtrain[tiff]'`"
        ) from error
