"""The metadata files of the benchmark of weakly supervised localization, checked line by line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from camtrain.data.image_file_samples import Box
from camtrain.messages import DataError

IMAGE_IDS, PROXY_IDS = "image_ids.txt", "image_ids_proxy.txt"
CLASS_LABELS, IMAGE_SIZES, LOCALIZATION = "class_labels.txt", "image_sizes.txt", "localization.txt"


@dataclass(frozen=True)
class WSOLImage:
    """What the metadata say about an image.

    Attributes:
        image_id: Its path below the folder of the images, with forward slashes.
        label: The class index.
        size: The width and height of the image that the boxes belong to; `None` if the metadata do not say it.
        boxes: The boxes in half-open xyxy pixels; empty if unknown.
        masks: The paths of its masks, one for each object; empty if unknown.
        ignored: The path of the mask of ignored pixels; `None` if there is none.
    """

    image_id: str
    label: int
    size: tuple[int, int] | None = None
    boxes: tuple[Box, ...] = ()
    masks: tuple[str, ...] = ()
    ignored: str | None = None


def wsol_images(folder: Path, *, masks: bool, proxy: bool = False) -> list[WSOLImage]:
    """The images of a split, in the order of `image_ids.txt`.

    The folder holds `image_ids.txt` with a path in each line, `class_labels.txt` (`path,class`), `image_sizes.txt`
    (`path,width,height`) and `localization.txt`. The latter has `path,x0,y0,x1,y1` in each line, where x1 and y1 are
    the last pixels of a box, or `path,mask,ignored mask`, where only the first line of an image names the ignored mask.
    An image has as many lines as boxes or masks. The last two files may be empty or absent.

    Args:
        folder: The folder of the split's metadata.
        masks: Whether `localization.txt` lists masks; otherwise it lists boxes.
        proxy: Whether `image_ids_proxy.txt` takes the place of `image_ids.txt`.

    Raises:
        FileNotFoundError: If a file is not there.
        DataError: At the first bad line, with its number, or if an image has no label; it is a `ValueError`.
    """
    ids_file = folder / (PROXY_IDS if proxy else IMAGE_IDS)
    image_ids = [line for _, line in _lines(ids_file)]
    if len(set(image_ids)) < len(image_ids):
        twice = next(image_id for image_id, count in Counter(image_ids).items() if count > 1)
        raise DataError(f"{ids_file}: expected each image once, got {twice!r} more than once")
    labels = {image_id: label for _, image_id, (label,) in _numbers(folder / CLASS_LABELS, ["class"])}
    sizes = {
        image_id: (width, height)
        for _, image_id, (width, height) in _numbers(folder / IMAGE_SIZES, ["width", "height"], may_be_absent=True)
    }
    boxes = {} if masks else _boxes(folder / LOCALIZATION, sizes)
    objects, ignored = _masks(folder / LOCALIZATION) if masks else ({}, {})
    without = [image_id for image_id in image_ids if image_id not in labels]
    if without:
        raise DataError(
            f"{folder / CLASS_LABELS}: expected a label for each image of {ids_file.name}, got none for {without[0]!r} "
            f"({len(without)} in all)"
        )
    return [
        WSOLImage(
            image_id,
            labels[image_id],
            sizes.get(image_id),
            tuple(boxes.get(image_id, ())),
            tuple(objects.get(image_id, ())),
            ignored.get(image_id),
        )
        for image_id in image_ids
    ]


def _boxes(path: Path, sizes: dict[str, tuple[int, int]]) -> dict[str, dict[Box, None]]:
    """The boxes of each image, none of them twice: the published files repeat a few."""
    found: dict[str, dict[Box, None]] = {}
    for number, image_id, box in _numbers(path, ["x0", "y0", "x1", "y1"], may_be_absent=True):
        x0, y0, x1, y1 = box
        if x1 < x0 or y1 < y0:
            raise DataError(f"{path}, line {number}: expected x0 ≤ x1 and y0 ≤ y1, got {box}")
        width, height = sizes.get(image_id, (x1 + 1, y1 + 1))
        if x1 >= width or y1 >= height:
            raise DataError(
                f"{path}, line {number}: expected a box inside its image of {width}x{height} pixels (width x height), "
                f"with x1 and y1 its last pixels, got {box}"
            )
        found.setdefault(image_id, {})[float(x0), float(y0), float(x1 + 1), float(y1 + 1)] = None
    return found


def _masks(path: Path) -> tuple[dict[str, list[str]], dict[str, str]]:
    """The paths of the masks of each image, and that of its ignored pixels."""
    masks: dict[str, list[str]] = {}
    ignored: dict[str, str] = {}
    for number, line in _lines(path, may_be_absent=True):
        fields = line.split(",")
        if len(fields) != 3 or not fields[1]:
            raise DataError(f"{path}, line {number}: expected path,mask,ignored mask, got {line!r}")
        image_id, mask, ignored_mask = fields
        if ignored_mask and image_id in masks:
            raise DataError(
                f"{path}, line {number}: expected an ignored mask on the first line of an image only, got another one "
                f"for {image_id!r}"
            )
        masks.setdefault(image_id, []).append(mask)
        if ignored_mask:
            ignored[image_id] = ignored_mask
    return masks, ignored


def _numbers(
    path: Path, columns: list[str], *, may_be_absent: bool = False
) -> Iterator[tuple[int, str, tuple[int, ...]]]:
    """The number of each line, the path in it, and the whole numbers of at least 0 that follow."""
    for number, line in _lines(path, may_be_absent=may_be_absent):
        image_id, *fields = line.split(",")
        if len(fields) != len(columns) or not all(each.isascii() and each.isdecimal() for each in fields):
            raise DataError(
                f"{path}, line {number}: expected path,{','.join(columns)} with whole numbers of at least 0, got "
                f"{line!r}"
            )
        yield number, image_id, tuple(map(int, fields))


def _lines(path: Path, *, may_be_absent: bool = False) -> Iterator[tuple[int, str]]:
    """The number and the text of each line that is not empty."""
    if may_be_absent and not path.exists():
        return
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FileNotFoundError(f"`metadata_root`: expected {path}, which does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the metadata in {path}: {error}") from error
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield number, line.strip()
