"""CUB-200-2011: photographs of 200 species of birds, with boxes and masks."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from camtrain.data.box_format import Box
from camtrain.data.class_subset import class_subset
from camtrain.data.image_data_module import Split
from camtrain.data.image_file import gray_numbers
from camtrain.data.image_file_samples import ImageFile, ImageFileSamples
from camtrain.data.photograph_data import PhotographData
from camtrain.data.stratified_split import stratified_split
from camtrain.data.text_file import fields_of_lines, number_in
from camtrain.files import local_path
from camtrain.messages import DataError


def cub_mask(path: Path) -> Tensor:
    """The bird in a file of CUB's segmentations, (H, W) bool, as it is stored.

    Its numbers go from 0 to 255 with the share of the annotators who saw the bird there; the bird is where more than
    half of them did.

    Raises:
        FileNotFoundError: If there is no such file.
        DataError: If the file cannot be read; it is a `ValueError`.
    """
    return gray_numbers(path) > 127


class CUB(PhotographData):
    """CUB-200-2011 in its own layout, with a box of the bird in each image.

    The folder holds `images.txt`, `image_class_labels.txt`, `classes.txt`, `bounding_boxes.txt` (x, y, width, height),
    `train_test_split.txt`, `images`, and, for masks, `segmentations` from an archive of its own. Images of one's own in
    the same layout work too; the numbers of images and classes are free.

    Validation images are held out of the training images. Boxes and masks belong to the pixels as they are stored. A
    box may leave its image by a pixel.

    Five lines of a configuration:

        data:
          class_path: CUB
          init_args: {root: data/CUB_200_2011, masks: true}
        model: {network: resnet50, weights: DEFAULT}
        trainer: {max_epochs: 10}

    Args:
        root: The folder that holds `images.txt`.
        masks: Whether to read the masks in `segmentations`.
        classes: The classes to use, as `classes.txt` names them, numbered in this order; null uses all.
        image_size: The height and width of the images in a batch, in pixels.
        val_fraction: The fraction of the training images that is held out for validation, the same in every class.
        **kwargs: The arguments of `ImageDataModule`.

    Raises:
        FileNotFoundError: If a file of the layout is not in `root`.
        ValueError: If an argument is out of range, or a file cannot be understood.

    Source: Wah et al., "The Caltech-UCSD Birds-200-2011 Dataset", 2011.
    """

    def __init__(
        self,
        root: str = "data/CUB_200_2011",
        masks: bool = False,
        classes: list[str] | None = None,
        image_size: int = 224,
        val_fraction: float = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_size=image_size, val_fraction=val_fraction, **kwargs)
        self.root = local_path(root, "root").absolute()
        self.masks = masks
        for name in ("images.txt", *(["segmentations"] if masks else [])):
            if not (self.root / name).exists():
                raise FileNotFoundError(f"`root`: expected CUB-200-2011 with {self.root / name}, which does not exist")
        names = [name for _, name in sorted(self._table("classes.txt", "class_id", "class_name").items())]
        if len(set(names)) < len(names):
            raise DataError(f"{self.root / 'classes.txt'}: expected each class once")
        self._all_class_names = names
        self._class_names = class_subset(names, classes)

    @property
    def class_names(self) -> list[str]:
        """The names of the classes, in the order of their indices."""
        return self._class_names

    @property
    def has_boxes(self) -> bool:
        """True: each image has a box."""
        return True

    @property
    def has_masks(self) -> bool:
        """Whether the images have masks."""
        return self.masks

    def samples(self, split: Split) -> ImageFileSamples:
        """The images of a split that belong to the chosen classes, with their boxes and masks.

        Raises:
            FileNotFoundError: If a file of the layout is not there.
            ValueError: If one cannot be understood; on access, if an image cannot be read.
        """
        files = [
            ImageFile(
                self.root / "images" / name,
                label=self.class_names.index(class_name),
                boxes=(box,),
                mask=(self.root / "segmentations" / name).with_suffix(".png") if self.masks else None,
            )
            for name, class_name, box in self._images(split)
            if class_name in self.class_names
        ]
        return ImageFileSamples(
            files,
            has_boxes=True,
            has_masks=self.masks,
            mask_reader=cub_mask,
            annotation_pixels="stored",
            is_setting=False,
        )

    def _images(self, split: Split) -> list[tuple[str, str, Box]]:
        """Path, class and box of each image of a split, for all classes."""
        images = [
            (name, class_name, box)
            for name, class_name, box, is_training in self._all_images
            if is_training == (split != "test")
        ]
        if split == "test":
            return images
        # Split before choosing classes, so that an image is in the same split for every choice of classes.
        labels = [self._all_class_names.index(class_name) for _, class_name, _ in images]
        train, val = stratified_split(labels, self.val_fraction, self.seed)
        return [images[index] for index in (train if split == "train" else val)]

    @cached_property
    def _all_images(self) -> list[tuple[str, str, Box, bool]]:
        """Path, class, box and whether it is a training image, of each image."""
        names = self._table("images.txt", "image_id", "image_name")
        class_of = self._table("image_class_labels.txt", "image_id", "class_id")
        boxes = self._table("bounding_boxes.txt", "image_id", "x y width height")
        parts = self._table("train_test_split.txt", "image_id", "is_training_image")
        found = []
        for number, name in names.items():
            for file, table in (
                ("image_class_labels.txt", class_of),
                ("bounding_boxes.txt", boxes),
                ("train_test_split.txt", parts),
            ):
                if number not in table:
                    raise DataError(f"{self.root / file}: expected a line for image {number} of images.txt, found none")
            found.append((name, self._class(class_of[number]), self._box(number, boxes[number]), parts[number] == "1"))
        return found

    def _class(self, text: str) -> str:
        if not text.isdecimal() or not 1 <= int(text) <= len(self._all_class_names):
            raise DataError(
                f"{self.root / 'image_class_labels.txt'}: expected a class from 1 to {len(self._all_class_names)}, got "
                f"{text!r}"
            )
        return self._all_class_names[int(text) - 1]

    def _box(self, number: int, text: str) -> Box:
        names = ("x", "y", "width", "height")
        try:
            fields = text.split()
            if len(fields) != len(names):
                raise ValueError(f"expected {' '.join(names)}, got {text!r}")
            x, y, width, height = (number_in(field, name) for name, field in zip(names, fields, strict=True))
            if width < 1 or height < 1:
                raise ValueError(f"expected a width and a height of at least a pixel, got {width:g} and {height:g}")
        except ValueError as error:
            raise DataError(f"{self.root / 'bounding_boxes.txt'}, image {number}: {error}") from None
        return x, y, x + width, y + height

    def _table(self, file: str, key: str, value: str) -> dict[int, str]:
        """The second field of each line by the first, a number."""
        path = self.root / file
        found: dict[int, str] = {}
        for line, (number, text) in fields_of_lines(path, key, value):
            if not number.isdecimal():
                raise DataError(f"{path}, line {line}: expected a number for {key}, got {number!r}")
            if int(number) in found:
                raise DataError(f"{path}, line {line}: {key} {number} is there twice")
            found[int(number)] = text
        return found
