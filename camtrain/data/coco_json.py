"""Files in the format of COCO's annotation: JSON with `images`, `annotations` and `categories`."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from camtrain.data.image_boxes import short
from camtrain.data.text_file import text_in
from camtrain.messages import DataError

T = TypeVar("T")

_KINDS: dict[type, str] = {int: "an integer", str: "a text", list: "a list"}
_PARTS = ("images", "annotations", "categories")


@dataclass(frozen=True)
class CocoObject:
    """One object of an image.

    Attributes:
        category: The name of its category.
        numbers: The four numbers of its box, as the file has them.
        segmentation: Its polygons or run lengths, as the file has them; `None` if it has none.
        is_crowd: Whether it is a region of several objects that are not told apart.
        place: Where in the file it is, for messages.
    """

    category: str
    numbers: tuple[float, float, float, float]
    segmentation: Any
    is_crowd: bool
    place: str


@dataclass(frozen=True)
class CocoImage:
    """One image.

    Attributes:
        file_name: Its path, as the file has it.
        size: Its height and width in pixels.
        objects: Its objects, in the order of the file.
        place: Where in the file it is, for messages.
    """

    file_name: str
    size: tuple[int, int]
    objects: tuple[CocoObject, ...]
    place: str


@dataclass(frozen=True)
class CocoFile:
    """The content of a file.

    Attributes:
        images: All images, in the order of the file.
        categories: The names of all categories, in the order of their ids.
    """

    images: tuple[CocoImage, ...]
    categories: tuple[str, ...]


def coco_file(path: Path, outlines: bool = False) -> CocoFile:
    """Read a file of COCO's format.

    Args:
        path: A JSON object with the lists `images` (`id`, `file_name`, `width`, `height`), `annotations` (`image_id`,
            `category_id`, `bbox`, perhaps `segmentation` and `iscrowd`) and `categories` (`id`, `name`).
        outlines: Whether to keep `segmentation`, which takes most of the memory.

    Raises:
        DataError: If the file cannot be read, something is missing, of another type or there twice, or an annotation
            names an image or a category that is not in the file; it is a `ValueError`.
    """
    content = _content(path)
    try:
        names = {
            _key(each, "id", int, place): _key(each, "name", str, place) for place, each in _each(content, "categories")
        }
        _check_once(content, "categories", "id")
        _check_once(content, "categories", "name")
        _check_once(content, "images", "id")
        _check_once(content, "images", "file_name")
        objects: dict[int, list[CocoObject]] = {}
        images = list(_each(content, "images"))
        known = {_key(each, "id", int, place) for place, each in images}
        for place, each in _each(content, "annotations"):
            image = _key(each, "image_id", int, place)
            if image not in known:
                raise ValueError(f"{place}: expected the id of an image for image_id, got {image}")
            objects.setdefault(image, []).append(_object(each, names, place, outlines))
        return CocoFile(
            tuple(_image(each, tuple(objects.get(each["id"], ())), place) for place, each in images),
            tuple(names[number] for number in sorted(names)),
        )
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None


def _content(path: Path) -> dict[str, Any]:
    text = text_in(path, "JSON")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: expected JSON: {error}") from None
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected an object with {', '.join(_PARTS)}, got a {type(content).__name__}")
    for name in _PARTS:
        if not isinstance(content.get(name), list):
            got = f"a {type(content[name]).__name__}" if name in content else f"{short(', '.join(content))} alone"
            raise DataError(f"{path}: expected a list `{name}`, got {got}")
    return content


def _each(content: dict[str, Any], part: str) -> list[tuple[str, dict[str, Any]]]:
    found = [(f"{part}[{number}]", each) for number, each in enumerate(content[part])]
    for place, each in found:
        if not isinstance(each, dict):
            raise ValueError(f"{place}: expected an object, got {short(json.dumps(each))}")
    return found


def _key(each: dict[str, Any], name: str, kind: type[T], place: str) -> T:
    value = each.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        got = short(json.dumps(value)) if name in each else "none"
        raise ValueError(f"{place}: expected {name}, {_KINDS[kind]}, got {got}")
    return value


def _check_once(content: dict[str, Any], part: str, name: str) -> None:
    seen: dict[Any, str] = {}
    for place, each in _each(content, part):
        value = _key(each, name, int if name == "id" else str, place)
        first = seen.setdefault(value, place)
        if first != place:
            raise ValueError(f"{place}: the same {name} as {first}: {short(str(value))}")


def _image(each: dict[str, Any], objects: tuple[CocoObject, ...], place: str) -> CocoImage:
    size = _key(each, "height", int, place), _key(each, "width", int, place)
    return CocoImage(_key(each, "file_name", str, place), size, objects, place)


def _object(each: dict[str, Any], names: dict[int, str], place: str, outlines: bool) -> CocoObject:
    category = _key(each, "category_id", int, place)
    if category not in names:
        raise ValueError(f"{place}: expected the id of a category for category_id, got {category}")
    box = _key(each, "bbox", list, place)
    is_box = len(box) == 4 and all(isinstance(edge, (int, float)) and math.isfinite(edge) for edge in box)
    if not is_box:
        raise ValueError(f"{place}: expected four numbers for bbox, got {short(json.dumps(box))}")
    a, b, c, d = map(float, box)
    outline = each.get("segmentation") if outlines else None
    return CocoObject(names[category], (a, b, c, d), outline, bool(each.get("iscrowd", 0)), place)
