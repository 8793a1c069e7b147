"""The connected components of a map at all thresholds, found together."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.uint8]
_LEVELS = 256  # the number of values of a pixel


class ComponentBoxes(NamedTuple):
    """Connected components, one row for each component at each level.

    Attributes:
        levels: (R,) levels from 1 to 255; row r describes a component of {pixels ≥ levels[r]}.
        boxes: (R, 4) boxes around the components, xyxy pixels, half-open.
        areas: (R,) numbers of pixels of the components.
    """

    levels: Integers
    boxes: Integers
    areas: Integers


def component_boxes(pixels: Pixels) -> ComponentBoxes:
    """Boxes around the connected components of {pixels ≥ level}, for every level from 1 to 255.

    Pixels that touch at an edge or a corner are connected. The function does not label each level separately. It
    assigns every pixel to the peak that it climbs to; the pixels of one peak are its basin. It counts the pixels of
    each basin at and above each level once. The highest pass between two basins is the level at which they merge. A
    smooth map has few peaks.

    Args:
        pixels: (H, W) map.

    Returns:
        The components; none for a map of zeros.

    Cost:
        A few passes over the pixels, and 1280 numbers for each peak. On one core, a map of 224 × 224 takes about 3 ms,
        and noise, which has 5,600 peaks, 150 ms.

    Source:
        The component tree, or max-tree: Salembier et al., IEEE Transactions on Image Processing 7(4), 1998.

    Example:
        >>> found = component_boxes(np.array([[9, 3, 0, 5]], dtype=np.uint8))
        >>> for level in (1, 4, 6):
        ...     print(level, found.boxes[found.levels == level].tolist())
        1 [[0, 0, 2, 1], [3, 0, 4, 1]]
        4 [[0, 0, 1, 1], [3, 0, 4, 1]]
        6 [[0, 0, 1, 1]]
    """
    # A column of zeros separates the end of each row from the start of the next one, so that neighbors can be found in
    # the flattened map. Zeros belong to no component, whatever basin they fall into.
    padded = np.pad(pixels, ((0, 0), (0, 1)))
    width = padded.shape[1]
    flat = padded.ravel()
    basins, peaks = _basins(flat, width)
    tables = _tables(flat, width, basins, len(peaks))
    return _components(tables, flat[peaks].astype(np.int64), _passes(flat, width, basins, len(peaks)))


def _basins(pixels: Pixels, width: int) -> tuple[Integers, Integers]:
    """The basin of each pixel of a flattened map, and the peak of each basin as an index into the map.

    Pixels are ordered by value, and equal pixels by position, so that every plateau has one peak.
    """
    bits = pixels.size.bit_length()
    # 8 bits hold the value, the others the position: 32 bits suffice for maps of up to 2896 × 2896 pixels.
    integer: Any = np.int32 if bits <= 23 else np.int64
    highest = (pixels.astype(integer) << bits) | np.arange(pixels.size, dtype=integer)
    for step in (1, width):
        before = highest.copy()
        np.maximum(highest[step:], before[:-step], out=highest[step:])
        np.maximum(highest[:-step], before[step:], out=highest[:-step])
    parents = (highest & ((1 << bits) - 1)).astype(np.int64)
    while True:
        above = parents[parents]
        if np.array_equal(above, parents):
            break
        parents = above
    peaks = np.flatnonzero(parents == np.arange(pixels.size))
    numbers = np.empty(pixels.size, dtype=np.int64)
    numbers[peaks] = np.arange(len(peaks))
    return numbers[parents], peaks


def _passes(pixels: Pixels, width: int, basins: Integers, count: int) -> list[tuple[int, int, int]]:
    """The highest pass between every two basins that touch, as (level, basin, basin), from the highest down."""
    found = []
    for step in (1, width - 1, width, width + 1):
        (places,) = np.nonzero(basins[step:] != basins[:-step])
        a, b = basins[places], basins[places + step]
        levels = np.minimum(pixels[places], pixels[places + step])
        found.append((np.minimum(a, b) * count + np.maximum(a, b)) * _LEVELS + levels)
    # After sorting, the highest pass of two basins is their last entry.
    pairs, levels = np.divmod(np.sort(np.concatenate(found)), _LEVELS)
    last = np.flatnonzero(np.diff(pairs, append=-1))
    downwards = last[np.argsort(-levels[last], kind="stable")]
    columns = levels[downwards], pairs[downwards] // count, pairs[downwards] % count
    return list(zip(*(column.tolist() for column in columns), strict=True))


def _tables(pixels: Pixels, width: int, basins: Integers, count: int) -> npt.NDArray[np.int32]:
    """The smallest x, y, -x and -y of each basin's pixels at and above a level, and their number, (count, 5, 256)."""
    places = basins * _LEVELS + pixels
    y, x = np.divmod(np.arange(pixels.size, dtype=np.int32), np.int32(width))
    tables = np.empty((count, 5, _LEVELS), dtype=np.int32)
    for row, values in enumerate((x, y, -x, -y)):
        least = np.full(count * _LEVELS, pixels.size, dtype=np.int32)
        np.minimum.at(least, places, values)
        tables[:, row] = least.reshape(count, _LEVELS)
    tables[:, 4] = np.bincount(places, minlength=count * _LEVELS).reshape(count, _LEVELS)
    from_above = tables[:, :, ::-1]
    np.minimum.accumulate(from_above[:, :4], axis=2, out=from_above[:, :4])
    np.cumsum(from_above[:, 4], axis=1, out=from_above[:, 4])
    return tables


def _components(tables: npt.NDArray[np.int32], tops: Integers, passes: list[tuple[int, int, int]]) -> ComponentBoxes:
    """Every component at every level, from the tables of the basins and the passes where they merge."""
    parent = list(range(len(tables)))
    top = tops.tolist()
    found: list[tuple[int, int, npt.NDArray[np.int32]]] = []  # lowest and highest level, table columns between them

    def root(basin: int) -> int:
        while parent[basin] != basin:
            parent[basin] = parent[parent[basin]]
            basin = parent[basin]
        return basin

    def close(basin: int, lowest: int) -> None:
        if lowest <= top[basin]:
            found.append((lowest, top[basin], tables[basin, :, lowest : top[basin] + 1].copy()))

    for level, first, second in passes:
        if level == 0:  # basins that only zeros connect are connected at no level
            break
        a, b = root(first), root(second)
        if a == b:  # they merged at a higher pass
            continue
        close(a, level + 1)
        close(b, level + 1)
        parent[b] = a
        top[a] = level
        np.minimum(tables[a, :4, : level + 1], tables[b, :4, : level + 1], out=tables[a, :4, : level + 1])
        tables[a, 4, : level + 1] += tables[b, 4, : level + 1]
    for basin in range(len(tables)):
        if parent[basin] == basin:
            close(basin, 1)
    if not found:
        return ComponentBoxes(np.zeros(0, np.int64), np.zeros((0, 4), np.int64), np.zeros(0, np.int64))
    levels = np.concatenate([np.arange(lowest, highest + 1) for lowest, highest, _ in found])
    x0, y0, x1, y1, areas = np.concatenate([table for *_, table in found], axis=1).astype(np.int64)
    return ComponentBoxes(levels, np.stack([x0, y0, 1 - x1, 1 - y1], axis=1), areas)
