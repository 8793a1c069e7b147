"""Your own images in a folder tree."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pytorch_lightning.utilities import rank_zero_warn
from torchvision.transforms import v2

from camtrain.data.boxes_csv import boxes_from_csv
from camtrain.data.class_subset import class_subset
from camtrain.data.image_data_module import ImageDataModule, Split
from camtrain.data.image_file import image_paths, no_images
from camtrain.data.image_file_samples import Box, ImageFile, ImageFileSamples
from camtrain.data.stratified_split import stratified_split
from camtrain.files import local_path
from camtrain.messages import DataError, checked_fraction, nearest_names, positive_integer

Augmentation = Literal["none", "crop_flip", "resized_crop_flip"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


class ImageFolderData(ImageDataModule):
    """Images in a folder tree `root/train/<class>/**`, `root/val/<class>/**`, `root/test/<class>/**`.

    The classes are the folders in `train`, in alphabetical order. Every file with an extension that Pillow reads is an
    image. An image with more than 50 megapixels or more than 8 bits per channel is an error; `CAMTRAIN_MAX_PIXELS` in
    the environment sets another limit. Without a `val` folder, some of the training images are held out for validation.
    Without a `test` folder, the validation images are also the test images, and a warning says so, unless
    `test_fraction` holds out some of the training images.

    In a tree `root/<class>/**`, without folders `train`, `val` and `test`, images for validation and for the test are
    held out.

    Boxes are read from a CSV file whose first line is `path,x0,y0,x1,y1`. Each further line is one box: `path` is
    relative to `root` with forward slashes (`train/cat/1.png`), and the numbers are half-open xyxy pixels of the stored
    image. An image may have several boxes, none of them twice.

    Masks are images of the same size in a parallel tree (`masks_root/train/cat/1.png`, in any image format) that are
    not zero on the object; in a palette image, the index counts. An image may have no box and no mask. An image with a
    mask and no box gets the tight box around the mask.

    Args:
        root: The folder that holds the `train` folder and optionally `val` and `test`, or the folders of the classes.
        image_size: The height and width of the images in a batch, in pixels. The shorter side of validation and test
            images is scaled to it, and their center is cropped.
        augmentation: How training images are changed. `none`: as validation images. `crop_flip`, for small images: as
            validation images, then a random crop after padding by an eighth of `image_size`, and a random flip.
            `resized_crop_flip`, for larger images: a random crop of at least half of the area, scaled to `image_size`,
            and a random flip.
        boxes_csv: The CSV file of object boxes, whose first line is `path,x0,y0,x1,y1`; null means no boxes.
        masks_root: The folder of object masks; null means no masks.
        val_fraction: The fraction of the images that is held out for validation if there is no `val` folder, the same
            in every class; null is 0.1. `seed` chooses the images.
        test_fraction: The fraction of the images that is held out for the test if there is no `test` folder, the same
            in every class. Null is 0.2 where there is no `train` folder either, and otherwise none.
        classes: The classes to use, numbered in this order; null uses all.
        **kwargs: The arguments of `ImageDataModule`.

    Raises:
        FileNotFoundError: If `root` has no images of any class, or the boxes or the masks do not exist.
        ValueError: If an argument is out of range, a class is unknown, or a folder has no images.
    """

    def __init__(
        self,
        root: str,
        image_size: int = 224,
        augmentation: Augmentation = "resized_crop_flip",
        boxes_csv: str | None = None,
        masks_root: str | None = None,
        val_fraction: float | None = None,
        test_fraction: float | None = None,
        classes: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if augmentation not in ("none", "crop_flip", "resized_crop_flip"):
            raise ValueError(f"`augmentation`: expected none, crop_flip or resized_crop_flip, got {augmentation!r}")
        for name, fraction in (("val_fraction", val_fraction), ("test_fraction", test_fraction)):
            if fraction is not None:
                checked_fraction(name, fraction, zero=False, one=False)
        self.root = local_path(root, "root").absolute()
        self._class_folders = self.root / "train" if self._has("train") else self.root
        self._check_root()
        self.image_size = positive_integer("image_size", image_size)
        self.augmentation = augmentation
        self.boxes_csv = None if boxes_csv is None else _absolute("boxes_csv", boxes_csv, Path.is_file)
        self.masks_root = None if masks_root is None else _absolute("masks_root", masks_root, Path.is_dir)
        self.val_fraction = 0.1 if val_fraction is None else val_fraction
        self.test_fraction = self._default_test_fraction if test_fraction is None else test_fraction
        if self.val_fraction + self.test_fraction >= 1:
            raise ValueError(
                "`test_fraction`: expected a fraction that leaves training images beside val_fraction = "
                f"{self.val_fraction}, got {self.test_fraction}"
            )
        masks = "" if self.masks_root is None or self.masks_root.parent != self.root else self.masks_root.name
        self._all_class_names = [name for name in _folders(self._class_folders) if name != masks]
        if not self._all_class_names:
            raise ValueError(f"`root`: expected one folder per class in {self._class_folders}, found none")
        self._class_names = class_subset(self._all_class_names, classes)
        given: dict[Split, float | None] = {"val": val_fraction, "test": test_fraction}
        for split, fraction in given.items():
            if fraction is not None and self._has(split):
                rank_zero_warn(f"`{split}_fraction` is ignored, since there is a folder {self.root / split}")

    def _check_root(self) -> None:
        if not self.root.is_dir():
            raise FileNotFoundError(
                f"`root`: expected the folder {self.root}, which does not exist; {self._tree_to_make}"
            )
        if self._class_folders == self.root and (beside := [split for split in SPLITS if self._has(split)]):
            raise FileNotFoundError(
                f"`root`: expected training images in {self.root / 'train'}, since there is a folder "
                f"{self.root / beside[0]}; {self._tree_to_make}"
            )

    @property
    def _tree_to_make(self) -> str:
        return (
            f"make a tree {self.root}/train/<class>/<image>, and optionally val and test beside train, or a tree "
            f"{self.root}/<class>/<image>"
        )

    @property
    def _default_test_fraction(self) -> float:
        return 0.2 if self._class_folders == self.root else 0.0

    @property
    def class_names(self) -> list[str]:
        """The names of the classes, in the order of their indices."""
        return self._class_names

    @property
    def has_boxes(self) -> bool:
        """Whether there are boxes, or masks from which boxes are derived."""
        return self.boxes_csv is not None or self.has_masks

    @property
    def has_masks(self) -> bool:
        """Whether there are masks."""
        return self.masks_root is not None

    def default_train_transform(self) -> list[v2.Transform]:
        """The transforms that `augmentation` chooses."""
        match self.augmentation:
            case "none":
                return self.default_eval_transform()
            case "crop_flip":
                crop = v2.RandomCrop(self.image_size, padding=self.image_size // 8)
                return [*self.default_eval_transform(), crop, v2.RandomHorizontalFlip()]
            case "resized_crop_flip":
                return [v2.RandomResizedCrop(self.image_size, scale=(0.5, 1.0)), v2.RandomHorizontalFlip()]

    def default_eval_transform(self) -> list[v2.Transform]:
        """The largest central square, scaled to `image_size`."""
        return [v2.Resize(self.image_size), v2.CenterCrop(self.image_size)]

    def samples(self, split: Split) -> ImageFileSamples:
        """The images of a split that belong to the chosen classes, with their boxes and masks.

        Raises:
            ValueError: If the file of boxes has a bad line, no mask belongs to any image, or a class folder is unknown
                or empty; on access, if an image cannot be read or its mask has another size.
        """
        files = [
            ImageFile(
                path,
                label=self.class_names.index(class_name),
                boxes=self._boxes.get(self._relative(path), ()),
                mask=self._masks.get(_stem(path, self.root)),
            )
            for class_name, path in self._images(split)
            if class_name in self.class_names
        ]
        return ImageFileSamples(files, has_boxes=self.has_boxes, has_masks=self.has_masks)

    def _images(self, split: Split) -> list[tuple[str, Path]]:
        """Class name and path of each image of a split, for all classes."""
        if split == "test" and split not in self._held_out and not self._has("test"):
            rank_zero_warn(f"there is no folder {self.root / 'test'}: the validation images are the test images too")
            split = "val"
        if split != "train" and self._has(split):
            return self._tree[split]
        images = self._tree["train"]
        return [images[index] for index in self._held_out[split]]

    @cached_property
    def _held_out(self) -> dict[Split, list[int]]:
        """The indices of the training images that are left for training, and of those held out for other splits."""
        # Split before choosing classes, so that an image is in the same split for every choice of classes.
        labels = [self._all_class_names.index(class_name) for class_name, _ in self._tree["train"]]
        parts: dict[Split, list[int]] = {}
        left = list(range(len(labels)))
        fractions: dict[Split, float] = {"test": self.test_fraction, "val": self.val_fraction}
        for split, fraction in fractions.items():
            if self._has(split) or fraction == 0:
                continue
            of_left = fraction * len(labels) / len(left)
            kept, held = stratified_split([labels[index] for index in left], of_left, self.seed, f"{split}_fraction")
            parts[split] = [left[index] for index in held]
            left = [left[index] for index in kept]
        return {"train": left, **parts}

    @cached_property
    def _tree(self) -> dict[Split, list[tuple[str, Path]]]:
        folders = {split: self.root / split for split in SPLITS} | {"train": self._class_folders}
        return {split: self._images_in_folder(folders[split]) for split in SPLITS if folders[split].is_dir()}

    def _images_in_folder(self, of_split: Path) -> list[tuple[str, Path]]:
        images = []
        for class_name in self._all_class_names if of_split == self._class_folders else _folders(of_split):
            folder = of_split / class_name
            if class_name not in self._all_class_names:
                raise ValueError(
                    f"`root`: {folder} is not a class of {self._class_folders}; "
                    f"{nearest_names(class_name, self._all_class_names)}"
                )
            wrong = no_images(folder)
            if wrong:
                raise DataError(
                    f"`root`: {wrong[0]} has the name of an image and is "
                    f"{'an empty folder' if wrong[0].is_dir() else 'no file'}; delete or rename it"
                )
            paths = image_paths(folder)
            if not paths:
                raise DataError(f"`root`: there are no images in {folder}")
            images += [(class_name, path) for path in paths]
        if not images:
            raise ValueError(f"`root`: there are no images in {of_split}")
        return images

    @cached_property
    def _boxes(self) -> dict[str, tuple[Box, ...]]:
        if self.boxes_csv is None:
            return {}
        images = [self._relative(path) for split in self._tree.values() for _, path in split]
        return boxes_from_csv(self.boxes_csv, self.root, images)

    @cached_property
    def _masks(self) -> dict[str, Path]:
        if self.masks_root is None:
            return {}
        masks: dict[str, Path] = {}
        for path in image_paths(self.masks_root):
            other = masks.setdefault(_stem(path, self.masks_root), path)
            if other != path:
                raise ValueError(f"`masks_root`: two masks for one image: {other} and {path}")
        images = {_stem(path, self.root) for split in self._tree.values() for _, path in split}
        if images.isdisjoint(masks):
            raise ValueError(
                f"`masks_root`: no mask in {self.masks_root} belongs to an image in {self.root}; expected the same "
                f"relative paths, such as {min(images)}.png"
            )
        return masks

    def _has(self, split: Split) -> bool:
        return (self.root / split).is_dir()

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


def _folders(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _stem(path: Path, root: Path) -> str:
    return path.relative_to(root).with_suffix("").as_posix()


def _absolute(argument: str, path: str, is_there: Callable[[Path], bool]) -> Path:
    absolute = Path(path).absolute()
    if absolute.exists() and not is_there(absolute):
        raise ValueError(f"`{argument}`: expected a {'file' if absolute.is_dir() else 'folder'}, got {absolute}")
    if not is_there(absolute):
        raise FileNotFoundError(f"`{argument}`: expected {absolute}, which does not exist")
    return absolute
