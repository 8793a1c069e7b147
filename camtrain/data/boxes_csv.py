"""Reads boxes from a CSV file, line by line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from camtrain.data.box_format import COLUMNS
from camtrain.data.image_boxes import ImageBoxes, short
from camtrain.data.text_file import number_in, text_in
from camtrain.messages import DataError


def boxes_from_csv(path: Path, boxes: ImageBoxes, columns: Sequence[str] = COLUMNS["xyxy"]) -> None:
    """Add each box that a CSV file lists.

    The first line is `path` and the names of the four numbers, such as `path,x0,y0,x1,y1`. Every other line is one box.
    An image may have several boxes, none of them twice. Empty lines are skipped.

    Args:
        path: The CSV file, in UTF-8.
        boxes: Where the boxes are added.
        columns: The names of the four numbers.

    Raises:
        DataError: At the first bad line, with its number and the fault, if the file cannot be read, or if it has no
            line below the first; it is a `ValueError`.
    """
    header = ["path", *columns]
    any_line = False
    for number, row in _lines(path, header):
        any_line = True
        try:
            if len(row) != len(header):
                got = short(",".join(row))
                raise ValueError(f"expected {len(header)} fields ({','.join(header)}), got {len(row)}: {got}")
            image = boxes.image(row[0])
            numbers = [number_in(text, name) for name, text in zip(columns, row[1:], strict=True)]
            boxes.add(image, numbers, f"line {number}")
        except ValueError as error:
            raise DataError(f"{path}, line {number}: {error}") from None
    if not any_line:
        raise DataError(f"{path}: expected boxes below the header, got none; without boxes, leave out `boxes_csv`")


def _lines(path: Path, expected: list[str]) -> Iterator[tuple[int, list[str]]]:
    """The number of the first line, and the fields, of each row below the header."""
    # Strict: a quote that is not closed would swallow the rest of the file.
    rows = csv.reader(io.StringIO(text_in(path, "CSV"), newline=""), strict=True)
    start = 1
    try:
        header = [name.strip() for name in next(rows, [])]
        if header != expected:
            raise DataError(f"{path}, line 1: {_wrong_header(header, expected)}")
        start = rows.line_num + 1
        for row in rows:
            if row:
                yield start, row
            start = rows.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}, line {start}: expected comma-separated fields, quotes closed: {error}") from None


def _wrong_header(header: list[str], expected: list[str]) -> str:
    found = ",".join(header)
    separator = next((name for mark, name in _SEPARATORS.items() if found.split(mark) == expected), None)
    other = next((name for name, columns in COLUMNS.items() if header == ["path", *columns]), None)
    remedy = f"; it is separated by {separator}: save it with commas" if separator else ""
    remedy = f"; set `boxes_format: {other}` if that is what the numbers are" if other else remedy
    return f"expected the header {','.join(expected)!r}, got {short(found)}{remedy}"


_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars", " ": "spaces"}
