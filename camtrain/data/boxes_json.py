"""Reads the boxes of images in a folder from a file in COCO's format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pytorch_lightning.utilities import rank_zero_warn

from camtrain.data.coco_json import coco_file
from camtrain.data.image_boxes import ImageBoxes
from camtrain.messages import CamtrainWarning, DataError


def boxes_from_json(path: Path, boxes: ImageBoxes, class_of: Mapping[str, str]) -> None:
    """Add the boxes in a file of COCO's format whose `file_name` are paths of images.

    Regions of several objects that are not told apart (`iscrowd`) are left out. So is an object whose category has the
    name of a class that is not the class of its image, and a warning says how many there are.

    Args:
        path: The JSON file; see `coco_file`.
        boxes: Where the boxes are added.
        class_of: The class of each image.

    Raises:
        DataError: If the file cannot be understood, names an image that is not there or is of another size, or a box
            is not what it is said to be; it is a `ValueError`.
    """
    others: list[str] = []
    known = set(class_of.values())
    for each in coco_file(path).images:
        place = each.place
        try:
            image = boxes.image(each.file_name)
            boxes.check_size(image, each.size)
            for found in each.objects:
                place = found.place
                if found.category in known and found.category != class_of[image]:
                    others.append(f"{place}, a {found.category} in {image}")
                elif not found.is_crowd:
                    boxes.add(image, found.numbers, place)
        except ValueError as error:
            raise DataError(f"{path}, {place}: {error}") from None
    if others:
        rank_zero_warn(
            f"{path}: {len(others)} boxes are of another class than their image and left out, such as {others[0]}",
            category=CamtrainWarning,
        )
