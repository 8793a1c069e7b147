"""The part of a photograph that a network sees, whatever prepares it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from camtrain.networks.preprocessing import Preprocessing

_LEVELS = 255
_TOLERANCE = 4 / _LEVELS  # scaling rounds levels, and blends fewer of them at the border
_LEAST = 3  # pixels along which a straight line says something

Part = tuple[float, float, float, float]
"""Left, top, right and bottom edge in pixels of the photograph."""


def seen_part(preprocessing: Preprocessing, width: int, height: int) -> Part | None:
    """The part of a photograph that is left of it in a network's input.

    A picture whose red grows from left to right and whose green grows from top to bottom is prepared as the photograph
    is. The colors of the result tell which part was cut out, for any transform that scales and crops.

    Args:
        preprocessing: How photographs become the input of the network.
        width: The width of the photograph in pixels.
        height: Its height.

    Returns:
        The edges of the part, `None` if the transform does something else too, such as turning, padding or mirroring.

    Example:
        >>> from camtrain.networks.preprocessing import plain_preprocessing
        >>> [round(edge) for edge in seen_part(plain_preprocessing(size=32), 200, 100)]
        [50, 0, 150, 100]
    """
    if min(width, height) < _LEAST:
        return None
    across, down = np.linspace(0, _LEVELS, width), np.linspace(0, _LEVELS, height)
    probe = np.full((height, width, 3), _LEVELS // 2, dtype=np.uint8)
    probe[..., 0], probe[..., 1] = across.round()[None, :], down.round()[:, None]
    red, green, blue = _prepared(preprocessing, probe)
    if abs(blue - (_LEVELS // 2) / _LEVELS).max() > _TOLERANCE:
        return None
    columns, rows = _ends(red, width), _ends(green.T, height)
    if columns is None or rows is None:
        return None
    return columns[0], rows[0], columns[1], rows[1]


def _prepared(preprocessing: Preprocessing, probe: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
    """The three colors of a picture after the preprocessing, (3, h, w)."""
    if preprocessing.pixel_format is None:
        image = preprocessing.transform(Image.fromarray(probe))
        return np.asarray(preprocessing.denormalized(image).double())
    # Of another number of channels, each color is prepared by itself, in all channels.
    colors = [torch.from_numpy(color).expand(preprocessing.channels, -1, -1) for color in np.moveaxis(probe, -1, 0)]
    prepared = [preprocessing.denormalized(preprocessing.transform(color)).double()[0] for color in colors]
    return np.asarray(torch.stack(prepared))


def _ends(levels: npt.NDArray[Any], length: int) -> tuple[float, float] | None:
    """Where the first pixel of a row begins and its last one ends, from levels, (rows, pixels); `None` if unclear."""
    count = levels.shape[1]
    if count < _LEAST:
        return None
    # Not at the ends, where scaling has fewer pixels to blend.
    border = max(1, count // 8) if count > _LEAST + 1 else 0
    places = np.arange(count)
    inner = slice(border, count - border)
    slope, start = np.polyfit(places[inner], levels.mean(axis=0)[inner], 1)
    if slope <= 0 or abs(levels - (start + slope * places)).max() > max(_TOLERANCE, 0.75 / (length - 1)):
        return None
    first, last = (level * (length - 1) + 0.5 for level in (start - slope / 2, start + slope * (count - 0.5)))
    near = 0.5 + length / 500  # levels are rounded, so that the border of the photograph is met this closely only
    return 0.0 if first < near else float(first), float(length) if last > length - near else float(last)
