"""Small trees in the layout of the benchmark of weakly supervised localization: bright rectangles on noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

FOLDERS = {
    "CUB": {"train": "00{c}.Bird{c}", "val": "00{c}.Bird{c}", "test": "00{c}.Bird{c}"},
    "ILSVRC": {"train": "train/n0{c}", "val": "val2/{c}", "test": "val"},
    "OpenImages": {"train": "train/0{c}x", "val": "val/0{c}x", "test": "test/0{c}x"},
}


def make_wsol(root: Path, benchmark: str, images_per_class: int = 4, classes: int = 2) -> None:
    """`root/dataset/<benchmark>` and `root/metadata/<benchmark>`.

    The images are 60 × 40 pixels. The object of class 0 is red and that of class 1 green, a rectangle that spans at
    least 15 pixels each way. In OpenImages, masks have twice the size of the image, every other image has two objects,
    the second of which is blue, and the lower half of every image is ignored, with parts of objects in them.
    """
    random = np.random.default_rng(0)
    for split, pattern in FOLDERS[benchmark].items():
        lines: dict[str, list[str]] = {"image_ids": [], "class_labels": [], "image_sizes": [], "localization": []}
        for label in range(classes):
            for number in range(images_per_class):
                image_id = f"{pattern.format(c=label)}/{split}_{label}_{number}.png"
                lines["image_ids"].append(image_id)
                lines["class_labels"].append(f"{image_id},{label}")
                has_masks, has_boxes = benchmark == "OpenImages", benchmark == "CUB" or split != "train"
                pixels, boxes = _scene(random, label, 1 + (has_masks and number % 2))
                path = root / "dataset" / benchmark / image_id
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
                if has_masks:
                    lines["localization"] += _masks(path, image_id, boxes) if split != "train" else []
                    continue
                if has_boxes:
                    lines["image_sizes"].append(f"{image_id},60,40")
                    lines["localization"] += [f"{image_id},{x0},{y0},{x1 - 1},{y1 - 1}" for x0, y0, x1, y1 in boxes]
        folder = root / "metadata" / benchmark / split
        folder.mkdir(parents=True)
        for name, of_file in lines.items():
            (folder / f"{name}.txt").write_text("".join(f"{line}\n" for line in of_file))


def _scene(random: np.random.Generator, label: int, count: int) -> tuple[np.ndarray, list[tuple[int, int, int, int]]]:
    pixels = random.integers(0, 60, size=(40, 60, 3), dtype=np.uint8)
    boxes = []
    for index in range(count):
        x0, y0 = int(random.integers(1, 20)) + 25 * index, int(random.integers(1, 15))
        x1, y1 = x0 + int(random.integers(10, 15) if index else 15), y0 + int(random.integers(15, 24))
        pixels[y0:y1, x0 : min(x1, 60)] = 0
        pixels[y0:y1, x0 : min(x1, 60), label if index == 0 else 2] = 255
        boxes.append((x0, y0, min(x1, 60), y1))
    return pixels, boxes


def _masks(path: Path, image_id: str, boxes: list[tuple[int, int, int, int]]) -> list[str]:
    stem, found = image_id.removesuffix(".png"), []
    ignored = np.zeros((80, 120), dtype=np.uint8)
    ignored[40:] = 255
    Image.fromarray(ignored).save(path.with_name(f"{path.stem}_ignore.png"))
    for index, (x0, y0, x1, y1) in enumerate(boxes):
        mask = np.zeros((80, 120), dtype=np.uint8)
        mask[2 * y0 : 2 * y1, 2 * x0 : 2 * x1] = 255
        Image.fromarray(mask).save(path.with_name(f"{path.stem}_m{index}.png"))
        found.append(f"{image_id},{stem}_m{index}.png,{stem + '_ignore.png' if index == 0 else ''}")
    return found
