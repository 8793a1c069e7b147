"""COCO, and any data in its layout: photographs with several objects, their boxes and outlines."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor

from camtrain.data.box_format import BoxFormat
from camtrain.data.coco_json import CocoFile, CocoImage, CocoObject, coco_file
from camtrain.data.image_data_module import Split
from camtrain.data.object_data import Labels, ObjectData, SeenImage, SeenObject
from camtrain.files import local_path
from camtrain.messages import CamtrainWarning, DataError


class COCO(ObjectData):
    """COCO in its own layout, `root/train2017/*.jpg` and `root/annotations/instances_train2017.json`, or data like it.

    The classes are the `categories` of the annotation, in the order of their ids. Regions of several objects that are
    not told apart (`iscrowd`) do not count. Boxes thinner than a pixel are left out, and a warning says how many.

    Masks are made of the outlines by `pycocotools`, which `pip install 'camtrain[coco]'` installs, as torchvision's
    reader does.

    Five lines of a configuration, for the files that annotation tools export, one in the folder of each split:

        data:
          class_path: COCO
          init_args: {root: mine, train_set: train, val_set: valid, test_set: test,
                      annotations: "{set}/_annotations.coco.json"}
        model: {network: resnet50, weights: DEFAULT}

    Args:
        root: The folder that holds images and annotation.
        train_set: The name of the training images, for `images` and `annotations`.
        val_set: The name of the validation images; null holds out `val_fraction` of the training images.
        test_set: The name of the test images.
        images: The folder of the images of a set, relative to `root`; `{set}` stands for the name.
        annotations: The annotation file of a set, relative to `root`; `{set}` stands for the name, and each set has a
            file of its own. Two splits may not share an image.
        labels: What the label of an image is: `largest`, the class of the object with the largest box, or `multi`, all
            its classes. See `ObjectData`.
        masks: Whether to make masks of the outlines.
        classes: The classes to use, numbered in this order; null uses all.
        image_size: The height and width of the images in a batch, in pixels.
        val_fraction: The fraction of the training images that is held out for validation if `val_set` is null.
        **kwargs: The arguments of `ImageDataModule`.

    Raises:
        FileNotFoundError: If there is no annotation file.
        ValueError: If an argument is out of range, two splits share an image, or an annotation file cannot be
            understood.
        ModuleNotFoundError: If `masks` is true and `pycocotools` is not installed.

    Source: Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014.
    """

    def __init__(
        self,
        root: str = "data/coco",
        train_set: str = "train2017",
        val_set: str | None = None,
        test_set: str = "val2017",
        images: str = "{set}",
        annotations: str = "annotations/instances_{set}.json",
        labels: Labels = "largest",
        masks: bool = False,
        classes: list[str] | None = None,
        image_size: int = 224,
        val_fraction: float = 0.1,
        **kwargs: Any,
    ) -> None:
        if masks:
            check_pycocotools()
        self.root = local_path(root, "root").absolute()
        self.sets: dict[Split, str | None] = {"train": train_set, "val": val_set, "test": test_set}
        self.images, self.annotations = images, annotations
        if "{set}" not in annotations:
            raise ValueError(
                "`annotations`: expected a path with `{set}`, which stands for the name of a set, got "
                f"{annotations!r}; give each set a file of its own, such as 'annotations/{{set}}.json'"
            )
        for split, name in self.sets.items():
            if name is not None and list(self.sets.values()).count(name) > 1:
                raise ValueError(f"`{split}_set`: expected other images than those of another split, got {name!r}")
            if name is not None and not self._annotation_file(name).is_file():
                raise FileNotFoundError(
                    f"`root`: expected the annotation of `{split}_set` in {self._annotation_file(name)}, which does "
                    "not exist; `annotations` says where it is"
                )
        super().__init__(
            classes=classes, labels=labels, masks=masks, image_size=image_size, val_fraction=val_fraction, **kwargs
        )

    def all_class_names(self) -> Sequence[str]:
        """The categories of the test images' annotation, which is the smaller file."""
        return self._test_file.categories

    def seen(self, split: Split) -> list[SeenImage] | None:
        """The images of an annotation file."""
        name = self.sets[split]
        if name is None:
            return None
        path = self._annotation_file(name)
        file = self._test_file if split == "test" else coco_file(path, outlines=self.masks)
        if file.categories != self._test_file.categories:
            raise DataError(
                f"{path}: expected the categories of {self._annotation_file(str(self.sets['test']))}, "
                f"{', '.join(self._test_file.categories[:5])}, …, got {', '.join(file.categories[:5])}, …"
            )
        thin: list[str] = []
        found = [self._image(path, self.root / self.images.replace("{set}", name), each, thin) for each in file.images]
        if thin and not any(each.objects for each in found):
            raise DataError(f"{path}: expected boxes in pixels, got only boxes thinner than a pixel")
        if thin:
            rank_zero_warn(
                f"{path}: {len(thin)} boxes thinner than a pixel, such as {thin[0]}, are left out",
                category=CamtrainWarning,
            )
        return found

    def mask_of(self, image: SeenImage, objects: Sequence[SeenObject]) -> COCOMask:
        """The union of the outlines of the objects."""
        return COCOMask(str(image.path), image.size, tuple(each.outline for each in objects))

    def _annotation_file(self, name: str) -> Path:
        return self.root / self.annotations.replace("{set}", name)

    @cached_property
    def _test_file(self) -> CocoFile:
        return coco_file(self._annotation_file(str(self.sets["test"])), outlines=self.masks)

    def _image(self, file: Path, folder: Path, image: CocoImage, thin: list[str]) -> SeenImage:
        objects = [self._object(file, image, each, thin) for each in image.objects if not each.is_crowd]
        return SeenImage(folder / image.file_name, tuple(each for each in objects if each is not None), image.size)

    def _object(self, file: Path, image: CocoImage, each: CocoObject, thin: list[str]) -> SeenObject | None:
        if min(each.numbers[2:]) < 1:
            thin.append(each.place)
            return None
        if self.masks and not each.segmentation:
            raise DataError(f"{file}, {each.place}: expected a segmentation, since `masks` is true; got none")
        try:
            box = BoxFormat("xywh").box(each.numbers, image.size)
        except ValueError as error:
            raise DataError(f"{file}, {each.place}: {error}") from None
        return SeenObject(each.category, box, each.segmentation)


@dataclass(frozen=True)
class COCOMask:
    """The mask of some objects of an image.

    Args:
        name: What the mask is called in messages.
        size: The height and width of the image that was annotated.
        outlines: The polygons or run lengths of each object, as COCO's files have them.
    """

    name: str
    size: tuple[int, int]
    outlines: tuple[Any, ...]

    def __call__(self) -> Tensor:
        """The union of the outlines, (H, W) bool."""
        from pycocotools import mask

        union = torch.zeros(self.size, dtype=torch.bool)
        try:
            for outline in self.outlines:
                runs = outline
                if isinstance(outline, list) or isinstance(outline["counts"], list):
                    runs = mask.frPyObjects(outline, *self.size)
                whole = mask.merge(runs) if isinstance(runs, list) else runs
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", DeprecationWarning)  # it makes arrays as NumPy 1 had them
                    union |= torch.from_numpy(mask.decode(whole)).bool()
        except Exception as error:  # of outlines that are none, it raises almost anything
            raise DataError(f"the mask {self} cannot be made: {error}") from error
        return union

    def __str__(self) -> str:
        return f"of the outlines of {self.name}"


def check_pycocotools() -> None:
    """Check that masks can be made of outlines.

    Raises:
        ModuleNotFoundError: If `pycocotools` is not installed.
    """
    try:
        import pycocotools.mask  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("`masks`: COCO's outlines need `pip install 'camtrain[coco]'`") from error
