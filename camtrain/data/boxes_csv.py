"""Reads object boxes from a CSV file and checks them line by line."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

from camtrain.data.image_file import image_size
from camtrain.data.image_file_samples import Box

COLUMNS = ["path", "x0", "y0", "x1", "y1"]


def boxes_from_csv(path: Path, root: Path, images: Collection[str]) -> dict[str, tuple[Box, ...]]:
    """The boxes of each image that the file lists.

    The first line is `path,x0,y0,x1,y1`. Every other line is one box, in half-open xyxy pixels of the stored image. An
    image may have several boxes. Empty lines are skipped.

    Args:
        path: The CSV file, in UTF-8.
        root: The folder that the paths in the file are relative to.
        images: All images that exist, as paths relative to `root` with forward slashes.

    Returns:
        The boxes by the path of the image relative to `root`; images without boxes are left out.

    Raises:
        ValueError: At the first bad line, with its number and the fault.
    """
    boxes: dict[str, list[Box]] = defaultdict(list)
    sizes: dict[str, tuple[int, int]] = {}
    known = set(images)
    for number, row in _lines(path):
        try:
            image, box = _row(row, known, root)
            if image not in sizes:
                sizes[image] = image_size(root / image)
            _check_inside(box, sizes[image])
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
        boxes[image].append(box)
    return {image: tuple(boxes_of_image) for image, boxes_of_image in boxes.items()}


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The line number and the fields of each row below the header."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets may write a byte order mark
            rows = csv.reader(file)
            header = [name.strip() for name in next(rows, [])]
            if header != COLUMNS:
                raise ValueError(f"{path}, line 1: expected the header {','.join(COLUMNS)!r}, got {','.join(header)!r}")
            yield from ((rows.line_num, row) for row in rows if row)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: expected a CSV file in UTF-8: {error}") from None


def _row(row: list[str], images: Collection[str], root: Path) -> tuple[str, Box]:
    if len(row) != len(COLUMNS):
        raise ValueError(f"expected {len(COLUMNS)} fields ({','.join(COLUMNS)}), got {len(row)}: {','.join(row)!r}")
    image = str(PurePosixPath(row[0].strip()))
    if image not in images:
        raise ValueError(
            f"no image {row[0]!r} in {root}; paths are relative to that folder, such as {min(images, default='')!r}"
        )
    x0, y0, x1, y1 = (_number(name, text) for name, text in zip(COLUMNS[1:], row[1:], strict=True))
    if x0 >= x1:
        raise ValueError(f"expected x0 < x1, got x0={x0:g}, x1={x1:g}")
    if y0 >= y1:
        raise ValueError(f"expected y0 < y1, got y0={y0:g}, y1={y1:g}")
    return image, (x0, y0, x1, y1)


def _number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"expected a number for {name}, got {text!r}")
    return number


def _check_inside(box: Box, size: tuple[int, int]) -> None:
    x0, y0, x1, y1 = box
    height, width = size
    if x0 < 0 or y0 < 0 or x1 > width or y1 > height:
        raise ValueError(
            f"the box ({x0:g}, {y0:g}, {x1:g}, {y1:g}) is not inside its image of {width}x{height} pixels "
            f"(width x height)"
        )
