"""Small trees in the layouts of VOC, COCO, CUB and Waterbirds: bright rectangles, the objects, on noise."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (48, 40)  # width and height
OBJECTS = {0: (2, 3, 14, 15), 1: (16, 10, 44, 36)}  # the second is larger


def classes_of(number: int, classes: int = 3) -> list[int]:
    """The class of each of the two objects of an image; in turn, every class is that of the larger one."""
    return [number % classes, (number + 1) % classes]


def picture(number: int, boxes: Iterable[tuple[int, int, int, int]] = OBJECTS.values()) -> np.ndarray:
    pixels = np.random.default_rng(number).integers(0, 60, size=(SIZE[1], SIZE[0], 3), dtype=np.uint8)
    for x0, y0, x1, y1 in boxes:
        pixels[y0:y1, x0:x1] = 255
    return pixels


def save(path: Path, pixels: np.ndarray, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


VOC_NAMES = ["bird", "cat", "dog"]
VOC_NUMBERS = [3, 8, 12]


def make_voc(root: Path, sets: dict[str, int], year: str = "2012") -> Path:
    """`root/VOCdevkit/VOC2012` with a number of images in each list; all have a segmentation."""
    folder = root / "VOCdevkit" / f"VOC{year}"
    for name in ("Main", "Segmentation"):
        (folder / "ImageSets" / name).mkdir(parents=True, exist_ok=True)
    (folder / "Annotations").mkdir(exist_ok=True)
    for image_set, count in sets.items():
        names = [f"{image_set}_{number}" for number in range(count)]
        for name in ("Main", "Segmentation"):
            (folder / "ImageSets" / name / f"{image_set}.txt").write_text("\n".join(names) + "\n")
        for number, name in enumerate(names):
            save(folder / "JPEGImages" / f"{name}.jpg", picture(number), quality=95)
            found = list(zip(classes_of(number), OBJECTS.values(), strict=True))
            (folder / "Annotations" / f"{name}.xml").write_text(voc_xml([(VOC_NAMES[k], box, 0) for k, box in found]))
            numbers = np.zeros(SIZE[::-1], dtype=np.uint8)
            for label, (x0, y0, x1, y1) in found:
                numbers[y0:y1, x0:x1] = 255
                numbers[y0 + 1 : y1 - 1, x0 + 1 : x1 - 1] = VOC_NUMBERS[label]
            save(folder / "SegmentationClass" / f"{name}.png", numbers)
    return folder


def voc_xml(objects: Iterable[tuple[str, tuple[float, ...], int]]) -> str:
    """An annotation whose boxes count from 1 and include the last pixel."""
    parts = "".join(
        f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox><xmin>{x0 + 1}</xmin>"
        f"<ymin>{y0 + 1}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
        for name, (x0, y0, x1, y1), difficult in objects
    )
    return f"<annotation><size><width>{SIZE[0]}</width><height>{SIZE[1]}</height></size>{parts}</annotation>"


COCO_NAMES = ["cat", "dog", "cow"]


def coco_content(count: int) -> dict[str, list[dict[str, object]]]:
    """Images of two objects each, with polygons; the ids of the categories are 5, 7 and 9."""
    images, objects = [], []
    for number in range(count):
        images.append({"id": number, "file_name": f"{number}.png", "width": SIZE[0], "height": SIZE[1]})
        for label, (x0, y0, x1, y1) in zip(classes_of(number), OBJECTS.values(), strict=True):
            objects.append(
                {
                    "id": len(objects), "image_id": number, "category_id": 5 + 2 * label, "iscrowd": 0,
                    "bbox": [x0, y0, x1 - x0, y1 - y0], "segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]],
                }
            )  # fmt: skip
    categories = [{"id": 5 + 2 * label, "name": name} for label, name in enumerate(COCO_NAMES)]
    return {"images": images, "annotations": objects, "categories": categories[::-1]}


def make_coco(root: Path, sets: dict[str, int]) -> None:
    (root / "annotations").mkdir(parents=True)
    for name, count in sets.items():
        for number in range(count):
            save(root / name / f"{number}.png", picture(number))
        (root / "annotations" / f"instances_{name}.json").write_text(json.dumps(coco_content(count)))


def make_cub(root: Path, per_class: int = 10, classes: int = 2) -> None:
    """CUB's files; of each class, every fifth image is a test image."""
    names = ("images", "image_class_labels", "bounding_boxes", "train_test_split")
    lines: dict[str, list[str]] = {name: [] for name in names}
    x0, y0, x1, y1 = OBJECTS[1]
    for number in range(per_class * classes):
        label = 1 + number % classes
        name = f"{label:03}.Bird/{number}.jpg"
        save(root / "images" / name, picture(number, [OBJECTS[1]]), quality=95)
        seen = np.zeros(SIZE[::-1], dtype=np.uint8)
        seen[y0 - 2 : y1 + 2, x0:x1] = 102  # two of five annotators
        seen[y0:y1, x0:x1] = 153
        save((root / "segmentations" / name).with_suffix(".png"), seen)
        lines["images"].append(f"{number + 1} {name}")
        lines["image_class_labels"].append(f"{number + 1} {label}")
        lines["bounding_boxes"].append(f"{number + 1} {x0:.1f} {y0:.1f} {x1 - x0:.1f} {y1 - y0:.1f}")
        lines["train_test_split"].append(f"{number + 1} {int(number // classes % 5 != 0)}")
    lines["classes"] = [f"{label + 1} {label + 1:03}.Bird of the sea" for label in range(classes)]
    for name, content in lines.items():
        (root / f"{name}.txt").write_text("\n".join(content) + "\n")


def make_waterbirds(root: Path, per_group: int = 2) -> None:
    """Two classes before two places in three splits; the class is bright, the place is dark."""
    rows = [["img_id", "img_filename", "y", "split", "place", "place_filename"]]
    for split in range(3):
        for label in range(2):
            for place in range(2):
                for number in range(per_group):
                    name = f"{label}/{split}_{place}_{number}.png"
                    save(root / name, picture(len(rows), [OBJECTS[label]]))
                    rows.append([str(len(rows)), name, str(label), str(split), str(place), "/o/ocean/1.jpg"])
    with (root / "metadata.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
