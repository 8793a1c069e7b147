"""Images in a folder tree of one's own."""

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
from camtrain.data.image_file import image_paths
from camtrain.data.image_file_samples import Box, ImageFile, ImageFileSamples
from camtrain.data.stratified_split import stratified_split
from camtrain.nearest_names import nearest_names

Augmentation = Literal["none", "crop_flip", "resized_crop_flip"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


class ImageFolderData(ImageDataModule):
    """Images of any folder tree `root/train/<class>/**`, `root/val/<class>/**`, `root/test/<class>/**`.

    Classes are the folders in `train`, numbered in alphabetical order. Images are all files that Pillow reads, by
    extension. Without a `val` folder, part of the training images is held out. Without a `test` folder, the validation
    images are the test images too, and a warning says so.

    Boxes come from a CSV file whose first line is `path,x0,y0,x1,y1`: one line per box, `path` relative to `root` with
    forward slashes (`train/cat/1.png`), half-open xyxy pixels of the image as it is stored; several boxes per image
    are fine. Masks are images of the same size in a parallel tree (`masks_root/train/cat/1.png`, of any image type),
    not zero on the object; with a palette, the palette index counts. An image without either is fine. One with a mask
    and no box gets the tight box around the mask.

    Args:
        root: Folder that holds the `train` folder and, optionally, `val` and `test`.
        image_size: Height and width of the images in a batch, in pixels. Validation and test images are scaled to it
            at their shorter side and cropped at the center.
        augmentation: What training images go through. `none`: as validation images. `crop_flip`, for small images:
            as validation images, then a random crop after padding by an eighth of `image_size`, and a random flip.
            `resized_crop_flip`, for larger ones: a random crop of at least half of the image's area, scaled to
            `image_size`, and a random flip.
        boxes_csv: CSV file of object boxes; null for none.
        masks_root: Folder of object masks; null for none.
        val_fraction: Share of the training images that is held out for validation where there is no `val` folder, the
            same share of every class; null means 0.1.
        classes: Use only these classes, numbered in this order; null means all.
        **kwargs: Those of `ImageDataModule`.

    Raises:
        FileNotFoundError: if `root/train`, the boxes or the masks are not there.
        ValueError: if an argument is out of its range, a class is unknown, or a folder has no images.
    """

    def __init__(
        self,
        root: str,
        image_size: int = 224,
        augmentation: Augmentation = "resized_crop_flip",
        boxes_csv: str | None = None,
        masks_root: str | None = None,
        val_fraction: float | None = None,
        classes: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if image_size < 1:
            raise ValueError(f"`image_size`: expected at least 1, got {image_size}")
        if augmentation not in ("none", "crop_flip", "resized_crop_flip"):
            raise ValueError(f"`augmentation`: expected none, crop_flip or resized_crop_flip, got {augmentation!r}")
        if val_fraction is not None and not 0 < val_fraction < 1:
            raise ValueError(f"`val_fraction`: expected a fraction between 0 and 1, got {val_fraction}")
        self.root = Path(root).absolute()
        if not self._has("train"):
            raise FileNotFoundError(
                f"`root`: training images were looked for in {self.root / 'train'}; expected a tree "
                f"{self.root}/train/<class>/<image>, and optionally val and test beside train"
            )
        self.image_size = image_size
        self.augmentation = augmentation
        self.boxes_csv = None if boxes_csv is None else _absolute("boxes_csv", boxes_csv, Path.is_file)
        self.masks_root = None if masks_root is None else _absolute("masks_root", masks_root, Path.is_dir)
        self.val_fraction = 0.1 if val_fraction is None else val_fraction
        self._all_class_names = _folders(self.root / "train")
        if not self._all_class_names:
            raise ValueError(f"`root`: expected one folder per class in {self.root / 'train'}, found none")
        self._class_names = class_subset(self._all_class_names, classes)
        if val_fraction is not None and self._has("val"):
            rank_zero_warn(f"`val_fraction` is ignored, since there is a folder {self.root / 'val'}")

    @property
    def class_names(self) -> list[str]:
        """Names of the classes, in the order of their indices."""
        return self._class_names

    @property
    def has_boxes(self) -> bool:
        """Whether there are boxes, or masks to derive them from."""
        return self.boxes_csv is not None or self.has_masks

    @property
    def has_masks(self) -> bool:
        """Whether there are masks."""
        return self.masks_root is not None

    def default_train_transform(self) -> list[v2.Transform]:
        """What `augmentation` says."""
        match self.augmentation:
            case "none":
                return self.default_eval_transform()
            case "crop_flip":
                crop = v2.RandomCrop(self.image_size, padding=self.image_size // 8)
                return [*self.default_eval_transform(), crop, v2.RandomHorizontalFlip()]
            case "resized_crop_flip":
                return [v2.RandomResizedCrop(self.image_size, scale=(0.5, 1.0)), v2.RandomHorizontalFlip()]

    def default_eval_transform(self) -> list[v2.Transform]:
        """The largest central square."""
        return [v2.Resize(self.image_size), v2.CenterCrop(self.image_size)]

    def samples(self, split: Split) -> ImageFileSamples:
        """The images of a split that are of a wanted class, with their boxes and masks.

        Raises:
            ValueError: if the boxes' file has a bad line, no mask belongs to any image, or a class folder is unknown
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
        """Class name and path of every image of a split, whatever the wanted classes."""
        if split == "test" and not self._has("test"):
            rank_zero_warn(f"there is no folder {self.root / 'test'}: the validation images are the test images too")
            split = "val"
        if split == "test" or self._has("val"):
            return self._tree[split]
        images = self._tree["train"]
        # Split before the classes are chosen, so that an image is on the same side whatever the classes.
        train, val = stratified_split(
            [self._all_class_names.index(class_name) for class_name, _ in images], self.val_fraction, self.seed
        )
        return [images[index] for index in (train if split == "train" else val)]

    @cached_property
    def _tree(self) -> dict[Split, list[tuple[str, Path]]]:
        return {split: self._images_in_folder(split) for split in SPLITS if self._has(split)}

    def _images_in_folder(self, split: Split) -> list[tuple[str, Path]]:
        images = []
        for class_name in _folders(self.root / split):
            folder = self.root / split / class_name
            if class_name not in self._all_class_names:
                raise ValueError(
                    f"`root`: {folder} is not a class of {self.root / 'train'}; "
                    f"{nearest_names(class_name, self._all_class_names)}"
                )
            paths = image_paths(folder)
            if not paths:
                raise ValueError(f"`root`: there are no images in {folder}")
            images += [(class_name, path) for path in paths]
        if not images:
            raise ValueError(f"`root`: there are no images in {self.root / split}")
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
    if not is_there(absolute):
        raise FileNotFoundError(f"`{argument}`: looked for {absolute}, which is not there")
    return absolute
