"""Tiny data sets in the layouts that the data modules read: a bright rectangle, the object, on noise."""

from __future__ import annotations

import csv
import pickle
from pathlib import Path

import numpy as np
from PIL import Image

from camtrain.data import CIFAR10, CIFAR100

BREEDS = ("Abyssinian", "Bengal", "american_bulldog")
SHAPES = ("circle", "square")


def make_cifar10(root: Path, images_per_class: int = 10) -> None:
    """CIFAR-10 as torchvision unpacks it: five training files and a test file, each with images of every class."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for number in range(1, 6):
        _pickle_cifar(folder / f"data_batch_{number}", "labels", 10, images_per_class, seed=number)
    _pickle_cifar(folder / "test_batch", "labels", 10, images_per_class, seed=0)
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list(CIFAR10.all_class_names)}))


def make_cifar100(root: Path, images_per_class: int = 10) -> None:
    """CIFAR-100 as torchvision unpacks it; a tenth of ten images per class is one per class in validation."""
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    _pickle_cifar(folder / "train", "fine_labels", 100, images_per_class, seed=1)
    _pickle_cifar(folder / "test", "fine_labels", 100, max(1, images_per_class // 5), seed=0)
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": list(CIFAR100.all_class_names)}))


def _pickle_cifar(path: Path, key: str, classes: int, images_per_class: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    labels = random.permutation(np.repeat(np.arange(classes), images_per_class))
    images = random.integers(0, 256, size=(len(labels), 3 * 32 * 32), dtype=np.uint8)
    images[:, 0] = labels  # the red of the first pixel is the label
    path.write_bytes(pickle.dumps({"data": images, key: labels.tolist()}))


def make_mnist(root: Path, data_set: str = "MNIST", images_per_class: tuple[int, int] = (20, 10)) -> None:
    """An MNIST-like data set as torchvision unpacks it: random ink in the middle 20 x 20 pixels, no two rows equal.

    Args:
        root: of the data set.
        data_set: MNIST or another with files of the same names, or QMNIST, whose labels have eight columns.
        images_per_class: in training and in test, of ten classes.
    """
    folder = root / data_set / "raw"
    folder.mkdir(parents=True)
    for seed, (split, count) in enumerate(zip(("train", "t10k"), images_per_class, strict=True)):
        random = np.random.default_rng(seed)
        labels = random.permutation(np.repeat(np.arange(10), count))
        images = np.zeros((len(labels), 28, 28), dtype=np.uint8)
        images[:, 4:24, 4:24] = random.integers(1, 256, size=(len(labels), 20, 20)) * random.integers(2, size=20)
        if data_set == "QMNIST":
            prefix = f"qmnist-{'train' if split == 'train' else 'test'}"
            columns = np.stack([labels, *[np.full_like(labels, 77)] * 7], axis=1).astype(">i4")
            _write_idx(folder / f"{prefix}-images-idx3-ubyte", 8, images)
            _write_idx(folder / f"{prefix}-labels-idx2-int", 12, columns)
        else:
            _write_idx(folder / f"{split}-images-idx3-ubyte", 8, images)
            _write_idx(folder / f"{split}-labels-idx1-ubyte", 8, labels.astype(np.uint8))


def _write_idx(path: Path, kind: int, array: np.ndarray) -> None:
    """The format of MNIST: two zeros, the number of the type, that of the dimensions, these, the values, big-endian."""
    shape = np.array(array.shape, dtype=">i4").tobytes()
    path.write_bytes(bytes([0, 0, kind, array.ndim]) + shape + array.tobytes())


def make_oxford_pet(
    root: Path, images_per_breed: int = 10, breeds: tuple[str, ...] = BREEDS, size: tuple[int, int] = (60, 48)
) -> None:
    """Oxford-IIIT Pet: per breed `images_per_breed` images in trainval and as many in test.

    Each pet is a bright rectangle whose outermost two pixels are the trimap's border. The first test image of the
    first breed has a trimap that is all background.
    """
    folder = root / "oxford-iiit-pet"
    (folder / "images").mkdir(parents=True)
    (folder / "annotations" / "trimaps").mkdir(parents=True)
    random = np.random.default_rng(0)
    for split_index, split in enumerate(("trainval", "test")):
        lines = []
        for label, breed in enumerate(breeds, start=1):
            for number in range(images_per_breed):
                image_id = f"{breed}_{2 * number + split_index + 1}"
                lines.append(f"{image_id} {label} {2 if breed[0].islower() else 1} {label}")
                pixels, (x0, y0, x1, y1) = _painted(random, size)
                Image.fromarray(pixels).save(folder / "images" / f"{image_id}.jpg", quality=95)
                trimap = np.full(size[::-1], 2, dtype=np.uint8)
                if (split, label, number) != ("test", 1, 0):
                    trimap[y0:y1, x0:x1] = 3
                    trimap[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2] = 1
                Image.fromarray(trimap).save(folder / "annotations" / "trimaps" / f"{image_id}.png")
        (folder / "annotations" / f"{split}.txt").write_text("\n".join(lines) + "\n")


def make_image_folder(
    root: Path,
    images_per_class: int = 6,
    splits: tuple[str, ...] = ("train", "val", "test"),
    size: tuple[int, int] = (48, 40),
) -> None:
    """`root/images/<split>/<class>/<number>.png` with `root/boxes.csv` and `root/masks` beside it, all complete."""
    random = np.random.default_rng(0)
    rows = []
    for split in splits:
        for name in SHAPES:
            for number in range(images_per_class):
                pixels, box = _painted(random, size)
                path = Path(split, name, f"{number}.png")
                mask = np.zeros(size[::-1], dtype=np.uint8)
                mask[box[1] : box[3], box[0] : box[2]] = 255
                for kind, array in (("images", pixels), ("masks", mask)):
                    (root / kind / path).parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(array).save(root / kind / path)
                rows.append([path.as_posix(), *box])
    with (root / "boxes.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "x0", "y0", "x1", "y1"], *rows])


def _painted(random: np.random.Generator, size: tuple[int, int]) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """Dark noise with a bright rectangle of at least 12 pixels each way, and the rectangle's half-open box."""
    width, height = size
    x0, y0 = int(random.integers(1, width // 3)), int(random.integers(1, height // 3))
    x1, y1 = int(random.integers(x0 + 12, width)), int(random.integers(y0 + 12, height))
    pixels = random.integers(0, 60, size=(height, width, 3), dtype=np.uint8)
    pixels[y0:y1, x0:x1] = 255
    return pixels, (x0, y0, x1, y1)
