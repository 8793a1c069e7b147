"""The base of data modules whose images show several objects of several classes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any, Literal, get_args

from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor

from camtrain.data.box_format import Box
from camtrain.data.class_subset import class_subset
from camtrain.data.image_data_module import Split
from camtrain.data.image_file_samples import ImageFile, ImageFileSamples
from camtrain.data.photograph_data import PhotographData
from camtrain.data.stratified_order import stratified_order
from camtrain.messages import CamtrainWarning

Labels = Literal["largest", "multi"]
"""One label per image, the class of the largest object; or one number for each class, 1 where it is present."""


@dataclass(frozen=True)
class SeenObject:
    """An object in an image.

    Attributes:
        class_name: The name of its class.
        box: Its box in half-open xyxy pixels.
        outline: What its mask is made of, which the data module knows; `None` if there is nothing.
    """

    class_name: str
    box: Box
    outline: Any = None

    @property
    def area(self) -> float:
        """The area of its box, in pixels."""
        x0, y0, x1, y1 = self.box
        return (x1 - x0) * (y1 - y0)


@dataclass(frozen=True)
class SeenImage:
    """An image with its objects.

    Attributes:
        path: The image file.
        objects: All objects that count.
        size: The height and width of the image that was annotated, as the annotation says.
    """

    path: Path
    objects: tuple[SeenObject, ...]
    size: tuple[int, int]


class ObjectData(PhotographData):
    """Images that show several objects of several classes, each with a box and perhaps a mask.

    `labels` chooses what an image's label is:

    - `largest`: the class of the object with the largest box. Boxes and masks are those of all objects of that class.
    - `multi`: (K,) numbers, 1 for each class of which there is an object and 0 for the others. Boxes and masks are
      those of all objects. Train with `model.classification_loss: binary_cross_entropy`.

    Images without an object of the classes are left out, and a warning says how many they are. Of an image that its
    EXIF orientation turns, boxes and masks belong to the image as it is stored or as a viewer shows it, whichever has
    the size that the annotation says. Where both have it, they belong to the image as it is stored, and are turned.

    A subclass defines `all_class_names` and `seen(split)`, and `mask_of` if it has masks. It takes its splits from
    `train_set`, `val_set` and `test_set`, which may not share an image.

    Args:
        classes: The classes to use, numbered in this order; null uses all.
        labels: What the label of an image is.
        masks: Whether images have masks.
        **kwargs: The arguments of `PhotographData` and `ImageDataModule`.

    Raises:
        ValueError: If an argument is out of range, or a class is unknown.
    """

    def __init__(
        self, classes: list[str] | None = None, labels: Labels = "largest", masks: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if labels not in get_args(Labels):
            raise ValueError(f"`labels`: expected largest or multi, got {labels!r}")
        self.labels: Labels = labels
        self.masks = masks
        self._seen: dict[Split, Sequence[SeenImage] | None] = {}
        self._class_names = class_subset(self.all_class_names(), classes)

    @abstractmethod
    def all_class_names(self) -> Sequence[str]:
        """The names of all classes of the data set."""

    @abstractmethod
    def seen(self, split: Split) -> Sequence[SeenImage] | None:
        """The images of a split; `None` for a validation split that is held out of the training images."""

    def image_paths(self, split: Split) -> Sequence[Path]:
        """The image files of a split, whatever they show; none if it is held out of the training images."""
        return [image.path for image in self._read(split) or ()]

    def mask_of(self, image: SeenImage, objects: Sequence[SeenObject]) -> Callable[[], Tensor]:
        """A function that makes the mask of some objects of an image, and whose text names it in messages."""
        raise NotImplementedError(f"{type(self).__name__} has no masks")

    @property
    def class_names(self) -> list[str]:
        """The names of the classes, in the order of their indices."""
        return self._class_names

    @property
    def has_boxes(self) -> bool:
        """True: each object has a box."""
        return True

    @property
    def has_masks(self) -> bool:
        """Whether the images have masks."""
        return self.masks

    def samples(self, split: Split) -> ImageFileSamples:
        """The images of a split that show one of the chosen classes, with their boxes and masks.

        Raises:
            FileNotFoundError: If the data set is not there.
            ValueError: If its annotation cannot be understood, or training images are asked for and two splits share
                an image; on access, if a file cannot be read, an image has another size than its annotation says, or a
                box is not inside its image.
        """
        images = self._images(split)
        if split == "train":
            self._check_apart()
        files = [self._file(image, known) for image in images if (known := self._known(image))]
        if len(files) < len(images):
            rank_zero_warn(
                f"{len(images) - len(files)} of {len(images)} {split} images show no object of the "
                f"{self.num_classes} classes and are left out",
                category=CamtrainWarning,
            )
        return ImageFileSamples(
            files,
            has_boxes=True,
            has_masks=self.masks,
            annotation_pixels="stored",
            is_setting=False,
            num_classes=self.num_classes if self.labels == "multi" else None,
        )

    def _check_apart(self) -> None:
        files: dict[Split, set[Path]] = {}
        for split in get_args(Split):
            # Training does not need the test images; whoever asks for a split that is not there is told then.
            with suppress(FileNotFoundError):
                files[split] = _resolved(self.image_paths(split))
        for one, other in combinations(files, 2):
            if shared := files[one] & files[other]:
                raise ValueError(
                    f"`{one}_set`, `{other}_set`: expected sets that share no image, got {len(shared)} images in both, "
                    f"such as {min(shared)}; choose another set for one of them"
                )

    def _known(self, image: SeenImage) -> list[SeenObject]:
        return [each for each in image.objects if each.class_name in self.class_names]

    def _file(self, image: SeenImage, known: Sequence[SeenObject]) -> ImageFile:
        label = max(known, key=lambda each: each.area).class_name
        explained = [each for each in known if each.class_name == label or self.labels == "multi"]
        return ImageFile(
            image.path,
            label=self.class_names.index(label),
            boxes=tuple(each.box for each in explained),
            mask=self.mask_of(image, explained) if self.masks else None,
            classes=tuple(sorted({self.class_names.index(each.class_name) for each in known})),
            size=image.size,
        )

    def _images(self, split: Split) -> Sequence[SeenImage]:
        held_out = None if split == "test" else self._held_out
        if held_out is None:
            return self._read(split) or ()
        train = self._read("train") or ()
        return [train[index] for index in held_out[split == "val"]]

    def _read(self, split: Split) -> Sequence[SeenImage] | None:
        if split not in self._seen:
            self._seen[split] = self.seen(split)
        return self._seen[split]

    @cached_property
    def _held_out(self) -> tuple[list[int], list[int]] | None:
        """The indices of the training images that are left, and of those held out; `None` if there are others."""
        if self._read("val") is not None:
            return None
        # Split before choosing classes, so that an image is in the same split for every choice of classes.
        train = self._read("train") or ()
        labels = [max(each.objects, key=lambda one: one.area).class_name if each.objects else "" for each in train]
        names = sorted(set(labels))
        # A class that is the largest object of few images may be left out of the validation images.
        order = stratified_order([names.index(label) for label in labels], self.seed)
        count = min(max(1, round(self.val_fraction * len(order))), len(order) - 1)
        if count < 1:
            raise ValueError(f"`val_fraction`: expected at least 2 training images to hold some out, got {len(order)}")
        return sorted(order[count:]), sorted(order[:count])


def _resolved(paths: Sequence[Path]) -> set[Path]:
    """The files that paths mean, however their folders are written; each folder is looked up once."""
    folders = {folder: folder.resolve() for folder in {path.parent for path in paths}}
    return {folders[path.parent] / path.name for path in paths}
