"""Reads object boxes from a CSV file and checks them line by line."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

from camtrain.data.image_file import image_size
from camtrain.data.image_file_samples import Box
from camtrain.messages import DataError

COLUMNS = ["path", "x0", "y0", "x1", "y1"]

_SHOWN = 80  # characters of a row in a message


def boxes_from_csv(path: Path, root: Path, images: Collection[str]) -> dict[str, tuple[Box, ...]]:
    """The boxes of each image that the file lists.

    The first line is `path,x0,y0,x1,y1`. Every other line is one box, in half-open xyxy pixels of the stored image. An
    image may have several boxes, none of them twice. Empty lines are skipped.

    Args:
        path: The CSV file, in UTF-8.
        root: The folder that the paths in the file are relative to.
        images: All images that exist, as paths relative to `root` with forward slashes.

    Returns:
        The boxes by the path of the image relative to `root`; images without boxes are left out.

    Raises:
        DataError: At the first bad line, with its number and the fault, if the file cannot be read, or if it has no
            box; it is a `ValueError`.
    """
    boxes: dict[str, dict[Box, int]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    known = set(images)
    for number, row in _lines(path):
        try:
            image, box = _row(row, known, root)
            if image not in sizes:
                sizes[image] = image_size(root / image)
            _check_inside(box, sizes[image])
            first = boxes.setdefault(image, {}).setdefault(box, number)
            if first != number:
                raise ValueError(f"the same box of the same image as in line {first}; delete one of them")
        except ValueError as error:
            raise DataError(f"{path}, line {number}: {error}") from None
    if not boxes:
        raise DataError(f"{path}: expected boxes below the header, got none; without boxes, leave out `boxes_csv`")
    return {image: tuple(boxes_of_image) for image, boxes_of_image in boxes.items()}


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The number of the first line, and the fields, of each row below the header."""
    # Strict: a quote that is not closed would swallow the rest of the file.
    rows = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    start = 1
    try:
        header = [name.strip() for name in next(rows, [])]
        if header != COLUMNS:
            raise DataError(f"{path}, line 1: {_wrong_header(header)}")
        start = rows.line_num + 1
        for row in rows:
            if row:
                yield start, row
            start = rows.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}, line {start}: expected comma-separated fields, quotes closed: {error}") from None


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read the boxes in {path}: {error.strerror or error}") from error
    try:
        text = content.decode("utf-8-sig")  # spreadsheets may write a byte order mark
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, line {line}: expected a CSV file in UTF-8, got the byte {content[error.start]:#04x}; save it as "
            "CSV in UTF-8"
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(f"{path}, line {line}: expected a CSV file in UTF-8, got a null character")
    return text


def _wrong_header(header: list[str]) -> str:
    found = ",".join(header)
    separator = next((name for mark, name in _SEPARATORS.items() if found.split(mark) == COLUMNS), None)
    remedy = f"; it is separated by {separator}: save it with commas" if separator else ""
    return f"expected the header {','.join(COLUMNS)!r}, got {_short(found)}{remedy}"


_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars", " ": "spaces"}


def _row(row: list[str], images: Collection[str], root: Path) -> tuple[str, Box]:
    if len(row) != len(COLUMNS):
        got = _short(",".join(row))
        raise ValueError(f"expected {len(COLUMNS)} fields ({','.join(COLUMNS)}), got {len(row)}: {got}")
    image = str(PurePosixPath(row[0].strip()))
    if image not in images:
        raise ValueError(
            f"no image {_short(row[0])} in {root}; paths are relative to that folder, with forward slashes, such as "
            f"{min(images, default='')!r}"
        )
    x0, y0, x1, y1 = (_number(name, text) for name, text in zip(COLUMNS[1:], row[1:], strict=True))
    if x0 >= x1:
        raise ValueError(f"expected x0 < x1, got x0={x0:g}, x1={x1:g}")
    if y0 >= y1:
        raise ValueError(f"expected y0 < y1, got y0={y0:g}, y1={y1:g}")
    return image, (x0, y0, x1, y1)


def _number(name: str, text: str) -> float:
    try:
        number = math.nan if "_" in text else float(text)  # Python takes 1_0 for 10
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"expected a number for {name}, got {_short(text)}")
    return number


def _check_inside(box: Box, size: tuple[int, int]) -> None:
    x0, y0, x1, y1 = box
    height, width = size
    if x0 < 0 or y0 < 0 or x1 > width or y1 > height:
        raise ValueError(
            f"the box ({x0:g}, {y0:g}, {x1:g}, {y1:g}) is not inside its image of {width}x{height} pixels "
            f"(width x height)"
        )


def _short(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")
