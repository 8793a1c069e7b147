"""Pascal VOC: photographs with several objects of 20 classes, their boxes, and masks for some of the images."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision import datasets

from camtrain.data.box_format import Box
from camtrain.data.image_data_module import Split
from camtrain.data.image_file import label_map
from camtrain.data.object_data import Labels, ObjectData, SeenImage, SeenObject
from camtrain.data.text_file import number_in
from camtrain.files import local_path
from camtrain.messages import DataError

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


class VOC(ObjectData):
    """Pascal VOC in its own layout, `root/VOCdevkit/VOC2012`, read by torchvision.

    The boxes count pixels from 1 and include the last one; here they are half-open and begin at 0. With `masks: true`
    only the images of VOC's segmentation are used, and a mask is where the segmentation shows a class. The border of 5
    pixels around its objects belongs to none.

    Five lines of a configuration, which `camtrain fit` takes:

        data:
          class_path: VOC
          init_args: {root: data, download: true, masks: true}
        model: {network: resnet50, weights: DEFAULT}
        trainer: {max_epochs: 10}

    Args:
        root: The folder that holds, or will hold, `VOCdevkit`.
        year: `2007` to `2012`.
        download: Whether to download the images of `year` into `root` if they are not there.
        train_set: The list of training images in `ImageSets`: `train`, or `trainval`, which is `train` and `val`
            together, with `test_set: test`. Two splits may not share an image.
        val_set: The list of validation images, such as `val`; null holds out `val_fraction` of the training images.
        test_set: The list of test images: `val` with `train_set: train`, or `test` for 2007.
        difficult: Whether objects count that VOC marks as difficult to recognize.
        labels: What the label of an image is: `largest`, the class of the object with the largest box, or `multi`, all
            its classes. See `ObjectData`.
        masks: Whether to use the images of VOC's segmentation, with masks.
        classes: The classes to use, numbered in this order; null uses all.
        image_size: The height and width of the images in a batch, in pixels.
        val_fraction: The fraction of the training images that is held out for validation if `val_set` is null.
        **kwargs: The arguments of `ImageDataModule`.

    Raises:
        FileNotFoundError: If the data set is not in `root` and `download` is false.
        ValueError: If an argument is out of range, two splits share an image, or an annotation file cannot be
            understood.

    Source: Everingham et al., "The Pascal Visual Object Classes (VOC) Challenge", IJCV 2010.
    """

    def __init__(
        self,
        root: str = "data",
        year: str = "2012",
        download: bool = False,
        train_set: str = "train",
        val_set: str | None = None,
        test_set: str = "val",
        difficult: bool = False,
        labels: Labels = "largest",
        masks: bool = False,
        classes: list[str] | None = None,
        image_size: int = 224,
        val_fraction: float = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            classes=classes, labels=labels, masks=masks, image_size=image_size, val_fraction=val_fraction, **kwargs
        )
        sets: dict[Split, str | None] = {"train": train_set, "val": val_set, "test": test_set}
        for name, value in sets.items():
            if value is not None and list(sets.values()).count(value) > 1:
                raise ValueError(f"`{name}_set`: expected other images than those of another split, got {value!r}")
        self.root = local_path(root, "root").absolute()
        self.year = str(year)
        self.download = download
        self.sets = sets
        self.difficult = difficult

    def all_class_names(self) -> Sequence[str]:
        """The 20 classes of VOC."""
        return VOC_CLASSES

    def prepare_data(self) -> None:
        """Download the data set if `download` is true and it is not there yet."""
        for image_set in self.sets.values() if self.download else ():
            try:
                if image_set is not None:
                    self._reader(image_set)
            except (FileNotFoundError, RuntimeError):
                datasets.VOCDetection(str(self.root), self.year, image_set, download=True)

    def seen(self, split: Split) -> list[SeenImage] | None:
        """The images of a list in `ImageSets`, with the objects of their annotation files."""
        return None if self.sets[split] is None else [self._image(path) for path in self.image_paths(split)]

    def image_paths(self, split: Split) -> list[Path]:
        """The image files of a list in `ImageSets`, whose annotation is not read."""
        image_set = self.sets[split]
        if image_set is None:
            return []
        try:
            return [Path(path) for path in self._reader(image_set).images]
        except (FileNotFoundError, RuntimeError) as error:  # torchvision says the second where there is no folder
            reason = f": {error}" if isinstance(error, FileNotFoundError) else ""
            raise FileNotFoundError(
                f"`root`: expected VOC {self.year} in {self.root / 'VOCdevkit'}, with its list of {image_set} images"
                f"{reason}; `download: true` downloads it"
            ) from None
        except ValueError as error:
            raise ValueError(f"`{split}_set`: {error}") from None

    def mask_of(self, image: SeenImage, objects: Sequence[SeenObject]) -> VOCMask:
        """Where the segmentation shows the classes of the objects."""
        classes = sorted({1 + VOC_CLASSES.index(each.class_name) for each in objects})
        return VOCMask(image.path.parents[1] / "SegmentationClass" / f"{image.path.stem}.png", tuple(classes))

    def _reader(self, image_set: str) -> Any:
        kind = datasets.VOCSegmentation if self.masks else datasets.VOCDetection
        return kind(str(self.root), self.year, image_set)

    def _image(self, path: Path) -> SeenImage:
        annotation = path.parents[1] / "Annotations" / f"{path.stem}.xml"
        try:
            node = ElementTree.parse(annotation).getroot()
            if node.tag != "annotation":
                raise ValueError(f"expected an `annotation`, got {node.tag!r}")
            found = datasets.VOCDetection.parse_voc_xml(node)["annotation"]
            objects = [_object(each) for each in found["object"] if self.difficult or each.get("difficult") != "1"]
            height, width = (int(number_in(found["size"][name], name)) for name in ("height", "width"))
        except FileNotFoundError:
            raise FileNotFoundError(f"`root`: expected the annotation {annotation}, which does not exist") from None
        except KeyError as error:
            raise DataError(f"{annotation}: expected an entry {error}, found none") from None
        except (ValueError, TypeError, AttributeError, ElementTree.ParseError, OSError) as error:
            raise DataError(f"{annotation}: {error}") from None
        return SeenImage(path, tuple(objects), (height, width))


@dataclass(frozen=True)
class VOCMask:
    """The mask of some classes in a file of VOC's segmentation.

    Args:
        path: The file, whose numbers are 0 (background), 1 to 20 (the classes) and 255 (border).
        classes: The numbers of the classes.
    """

    path: Path
    classes: tuple[int, ...]

    def __call__(self) -> Tensor:
        """The mask as it is stored, (H, W) bool."""
        numbers = label_map(self.path)
        wrong = numbers[(numbers > len(VOC_CLASSES)) & (numbers < 255)]
        if len(wrong):
            raise DataError(f"{self.path}: expected 0 to {len(VOC_CLASSES)} and 255, got {int(wrong[0])}")
        return torch.isin(numbers, torch.tensor(self.classes))

    def __str__(self) -> str:
        return str(self.path)


def _object(entry: dict[str, Any]) -> SeenObject:
    name = entry["name"]
    if name not in VOC_CLASSES:
        raise ValueError(f"expected one of the classes of VOC, got {name!r}")
    edges = entry["bndbox"]
    x0, y0, x1, y1 = (number_in(edges[key], key) for key in ("xmin", "ymin", "xmax", "ymax"))
    if x1 < x0 or y1 < y0:
        raise ValueError(f"expected xmin <= xmax and ymin <= ymax, got ({x0:g}, {y0:g}, {x1:g}, {y1:g})")
    box: Box = (x0 - 1, y0 - 1, x1, y1)
    return SeenObject(name, box)
