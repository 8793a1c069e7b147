"""The connected components of a map at every threshold, at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix  # type: ignore[import-untyped, unused-ignore]
from scipy.sparse.csgraph import minimum_spanning_tree  # type: ignore[import-untyped, unused-ignore]

Integers = npt.NDArray[np.int64]
_LEVELS = 256  # values of a pixel


class ComponentBoxes(NamedTuple):
    """Connected components, one row for each component at each level.

    Attributes:
        levels: (R,) from 1 to 255; the component is one of {pixels ≥ level}.
        boxes: (R, 4) around them, xyxy pixels, half-open.
        areas: (R,) pixels that they have.
    """

    levels: Integers
    boxes: Integers
    areas: Integers


def component_boxes(pixels: npt.NDArray[np.uint8]) -> ComponentBoxes:
    """Boxes around the connected components of {pixels ≥ level}, for every level from 1 to 255.

    Pixels that touch at an edge or a corner are connected. No level is labeled by itself. Every pixel climbs to a peak
    (its basin); from the bottom of the passes between peaks follows at which level their basins become one; and what a
    basin has at and above each level is counted once. A smooth map has few peaks.

    Args:
        pixels: (H, W).

    Returns:
        The components; none of a map of zeros.

    Cost:
        Some passes over the pixels, and 256 numbers for each peak.

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
    basins, peaks = _basins(pixels)
    tables = _tables(pixels, basins, len(peaks))
    return _components(tables, pixels.ravel()[peaks].astype(np.int64), _passes(pixels, basins, len(peaks)))


def _basins(pixels: npt.NDArray[np.uint8]) -> tuple[Integers, Integers]:
    """The basin of each pixel, (H, W), and the peak of each basin, an index in the flat map.

    Pixels are ordered by their value, and equal ones by their place, so that every plateau has one peak.
    """
    order = pixels.astype(np.int64) * pixels.size + np.arange(pixels.size).reshape(pixels.shape)
    highest = order.copy()
    for axis in (0, 1):
        before, here = highest.copy(), np.moveaxis(highest, axis, 0)
        along = np.moveaxis(before, axis, 0)
        np.maximum(here[1:], along[:-1], out=here[1:])
        np.maximum(here[:-1], along[1:], out=here[:-1])
    parents = (highest % pixels.size).ravel()
    while True:
        above = parents[parents]
        if np.array_equal(above, parents):
            break
        parents = above
    peaks = np.flatnonzero(parents == np.arange(pixels.size))
    numbers = np.empty(pixels.size, dtype=np.int64)
    numbers[peaks] = np.arange(len(peaks))
    return numbers[parents].reshape(pixels.shape), peaks


def _passes(pixels: npt.NDArray[np.uint8], basins: Integers, count: int) -> list[tuple[int, int, int]]:
    """(level, basin, basin): the passes by which basins become one, from the highest down."""
    firsts, seconds, levels = [], [], []
    below, right, left = slice(1, None), slice(1, None), slice(None, -1)
    every = slice(None)
    neighbors = (
        ((every, left), (every, right)),
        ((left, every), (below, every)),
        ((left, left), (below, right)),
        ((left, right), (below, left)),
    )
    for one, other in neighbors:
        a, b = basins[one], basins[other]
        apart = a != b
        firsts.append(np.minimum(a[apart], b[apart]))
        seconds.append(np.maximum(a[apart], b[apart]))
        levels.append(np.minimum(pixels[one][apart], pixels[other][apart]))
    pairs, level = np.concatenate(firsts) * count + np.concatenate(seconds), np.concatenate(levels).astype(np.int64)
    if len(pairs) == 0:
        return []
    # Of several passes between two basins the highest counts: the last one of each pair in this order.
    order = np.lexsort((level, pairs))
    pairs, level = pairs[order], level[order]
    highest = np.append(pairs[1:] != pairs[:-1], True)
    pairs, level = pairs[highest], level[highest]
    graph = coo_matrix((_LEVELS - level, (pairs // count, pairs % count)), shape=(count, count))
    tree = minimum_spanning_tree(graph.tocsr()).tocoo()
    downwards = np.argsort(tree.data, kind="stable")
    columns = _LEVELS - tree.data[downwards], tree.row[downwards], tree.col[downwards]
    return list(zip(*(column.astype(np.int64).tolist() for column in columns), strict=True))


def _tables(pixels: npt.NDArray[np.uint8], basins: Integers, count: int) -> Integers:
    """(count, 5, 256): of each basin's pixels at and above a level, the least x, y, -x and -y, and their number."""
    places = (basins * _LEVELS + pixels).ravel()
    y, x = np.indices(pixels.shape).reshape(2, -1)
    tables = np.empty((count, 5, _LEVELS), dtype=np.int64)
    for row, values in enumerate((x, y, -x, -y)):
        least = np.full(count * _LEVELS, max(pixels.shape), dtype=np.int64)
        np.minimum.at(least, places, values)
        tables[:, row] = least.reshape(count, _LEVELS)
    tables[:, 4] = np.bincount(places, minlength=count * _LEVELS).reshape(count, _LEVELS)
    from_above = tables[:, :, ::-1]
    np.minimum.accumulate(from_above[:, :4], axis=2, out=from_above[:, :4])
    np.cumsum(from_above[:, 4], axis=1, out=from_above[:, 4])
    return tables


def _components(tables: Integers, tops: Integers, passes: list[tuple[int, int, int]]) -> ComponentBoxes:
    """Every component at every level, from what the basins have and where they become one."""
    parent = list(range(len(tables)))
    top = tops.tolist()
    found: list[tuple[int, int, Integers]] = []  # lowest level, highest level, what it has at each of them

    def root(basin: int) -> int:
        while parent[basin] != basin:
            parent[basin] = parent[parent[basin]]
            basin = parent[basin]
        return basin

    def close(basin: int, lowest: int) -> None:
        if lowest <= top[basin]:
            found.append((lowest, top[basin], tables[basin, :, lowest : top[basin] + 1].copy()))

    for level, first, second in passes:
        if level == 0:  # what is only connected by zeros is connected at no level
            break
        a, b = root(first), root(second)
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
    x0, y0, x1, y1, areas = np.concatenate([table for *_, table in found], axis=1)
    return ComponentBoxes(levels, np.stack([x0, y0, 1 - x1, 1 - y1], axis=1), areas)
