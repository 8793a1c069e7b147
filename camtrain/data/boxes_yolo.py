"""Reads the boxes of images in a folder from YOLO's text files, one for each image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from camtrain.data.image_boxes import ImageBoxes, short
from camtrain.data.text_file import number_in, text_in
from camtrain.messages import DataError

_FIELDS = ("class", "cx", "cy", "width", "height")


def boxes_from_yolo(files: Mapping[str, Path], boxes: ImageBoxes) -> None:
    """Add the boxes of text files.

    Each line is the number of a class, and the center and the size of a box as fractions of the image. The class of an
    image is that of its folder; the numbers have no names here, so that all boxes of an image count.

    Args:
        files: The text file of each image; images without one have no boxes.
        boxes: Where the boxes are added.

    Raises:
        DataError: At the first bad line, with the file, its number and the fault; it is a `ValueError`.
    """
    for image, path in files.items():
        for number, line in enumerate(text_in(path).splitlines(), start=1):
            fields = line.split()
            if not fields:
                continue
            try:
                if len(fields) != len(_FIELDS):
                    raise ValueError(f"expected `{' '.join(_FIELDS)}`, got {len(fields)} fields: {short(line)}")
                if not fields[0].isdecimal():
                    raise ValueError(f"expected the number of a class, got {short(fields[0])}")
                numbers = [number_in(text, name) for name, text in zip(_FIELDS[1:], fields[1:], strict=True)]
                boxes.add(image, numbers, f"{path.name}, line {number}")
            except ValueError as error:
                raise DataError(f"{path}, line {number}: {error}") from None
