"""Your own images in a folder tree."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from pytorch_lightning.utilities import rank_zero_warn
from torchvision.transforms import v2

from camtrain.data.array_file import ARRAY_EXTENSIONS
from camtrain.data.box_format import Box, FormatName
from camtrain.data.class_subset import class_subset
from camtrain.data.folder_boxes import FolderBoxes, absolute_path
from camtrain.data.folder_listing import FolderListing
from camtrain.data.image_data_module import ImageDataModule, Split
from camtrain.data.image_file_samples import ImageFile, ImageFileSamples
from camtrain.data.matched_files import matched_files
from camtrain.data.own_output import is_written_by_camtrain
from camtrain.data.stratified_split import stratified_split
from camtrain.data.unread_files import folders_beside, images_directly_in, warn_of_unread
from camtrain.data.upright import AnnotationPixels
from camtrain.files import local_path
from camtrain.messages import DataError, checked_fraction, nearest_names, positive_integer
from camtrain.networks.preprocessing import usual_normalization
from camtrain.pictures import check_shown_channels
from camtrain.pixel_format import PixelFormat, PixelType

Augmentation = Literal["none", "crop_flip", "resized_crop_flip"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
_SPLIT = re.compile(r"(?<![a-z])(train|val|valid|validation|test|eval|dev)(ing)?(?![a-z])", re.IGNORECASE)


class ImageFolderData(ImageDataModule):
    """Images in a folder tree `root/train/<class>/**`, `root/val/<class>/**`, `root/test/<class>/**`.

    The classes are the folders in `train`, in alphabetical order. Every file with an extension that Pillow reads is an
    image. An image with more than 50 megapixels or more than 8 bits per channel is an error; `CAMTRAIN_MAX_PIXELS` in
    the environment sets another limit. Without a `val` folder, some of the training images are held out for validation.
    Without a `test` folder, the validation images are also the test images, and a warning says so, unless
    `test_fraction` holds out some of the training images.

    In a tree `root/<class>/**`, without folders `train`, `val` and `test`, images for validation and for the test are
    held out. Folders that camtrain has written, such as `runs`, are no classes.

    What is held out is drawn anew if files are added or removed: images that a network was trained on may then be test
    images. Give data that grow folders `val` and `test`. Classes are numbered in the order of their folders' names. A
    checkpoint has these names, and images are not scored if one of them stands for another class than in training.

    An image is what a viewer shows: it is turned as its EXIF orientation says, and transparent pixels lie on white.
    Of a file with several pictures, the first is read. Boxes and masks are those of the picture that is shown;
    `annotation_pixels: stored` takes them as drawn on the pixels as they are stored, and turns them too.

    Boxes are read from a CSV file whose first line is `path,x0,y0,x1,y1`. Each further line is one box: `path` is
    relative to `root` with forward slashes (`train/cat/1.png`), and the numbers are half-open pixels: x1 and y1 are
    just outside of the box. With `boxes_format: xywh` the first line is `path,x,y,width,height`, and with `cxcywh` it
    is `path,cx,cy,width,height`.

    Or they are read from a file in COCO's format, `boxes_json`, whose `file_name` is such a path. Its boxes are `xywh`
    in pixels unless `boxes_format` says otherwise; its outlines are not read. Regions of several objects (`iscrowd`)
    are left out, and so are objects whose category has the name of another class than their image's.

    Or they are read from YOLO's text files in a parallel tree, `boxes_yolo` (`labels/train/cat/1.txt`), with a line
    `class cx cy width height` for each box, in fractions of the image. The number of the class is not used.

    `normalized: true` says that the numbers of a CSV or JSON file are fractions of the image. A format is never
    guessed: boxes that are not what is said, or not inside of their image, are errors. An image may have several boxes,
    none of them twice. Boxes thinner than a pixel are left out with a warning.

    Masks are images of the same size in a parallel tree (`masks_root/train/cat/1.png`, in any image format) that are
    not black on the object. A mask that can be read in two ways is an error: one with transparent colors, a palette
    that shows other than its numbers say, several pictures in a file, or a JPEG that is not black and white alone. An
    image may have no box and no mask. An image with a mask and no box gets the tight box around the mask.

    Names that differ only in their Unicode normalization are the same. Warnings name what is not read: masks that
    belong to no image, folders and images beside those of the splits and classes, linked folders below a class, and
    files of a type that Pillow does not read.

    Images of any number of channels, such as satellite tiles and X-rays, are read as they are stored if `channels`
    says how many there are. `pixel_type` says what numbers the files hold, and `value_range` which of them become 0
    and 1; nothing of it is guessed, and a file that holds something else is an error that names it. Then arrays in
    NumPy's `.npy` are images too, and TIFF files may have any number of channels (`pip install 'camtrain[tiff]'`).
    The network has to take as many channels: `CIFARResNet` and `build_network` have the setting `in_channels`.

        --data ImageFolderData --data.root tiles --data.channels 4
        --data.pixel_type uint16 --data.value_range [0,10000]
        --data.shown_channels [2,1,0]

    Photographs in `photos/<class>`, with masks of the same names in `masks/<class>`, with boxes exported for COCO or
    for YOLO, or with a table of your own:

        --data ImageFolderData --data.root photos --data.masks_root masks
        --data ImageFolderData --data.root photos --data.boxes_json boxes.json
        --data ImageFolderData --data.root photos --data.boxes_yolo labels
        --data ImageFolderData --data.root photos --data.boxes_csv boxes.csv
        --data.boxes_format cxcywh --data.normalized true

    Args:
        root: The folder that holds the `train` folder and optionally `val` and `test`, or the folders of the classes.
        image_size: The height and width of the images in a batch, in pixels. The shorter side of validation and test
            images is scaled to it, and their center is cropped.
        augmentation: How training images are changed. `none`: as validation images. `crop_flip`, for small images: as
            validation images, then a random crop after padding by an eighth of `image_size`, and a random flip.
            `resized_crop_flip`, for larger images: a random crop of at least half of the area, scaled to `image_size`,
            and a random flip.
        boxes_csv: The CSV file of object boxes, whose first line is `path,x0,y0,x1,y1`; null means none.
        masks_root: The folder of object masks; null means no masks.
        val_fraction: The fraction of the images that is held out for validation if there is no `val` folder, the same
            in every class; null is 0.1. `seed` chooses the images.
        test_fraction: The fraction of the images that is held out for the test if there is no `test` folder, the same
            in every class. Null is 0.2 where there is no `train` folder either, and otherwise none.
        classes: The classes to use, numbered in this order; null uses all.
        boxes_json: The file of object boxes in COCO's format; null means none.
        boxes_yolo: The folder of YOLO's text files; null means none.
        boxes_format: What the four numbers of a box are: `xyxy` (two corners), `xywh` (the top left corner and a size)
            or `cxcywh` (the center and a size). Null is that of the kind of file: `xyxy` for CSV, `xywh` for JSON, and
            `cxcywh` for YOLO, which has no other.
        normalized: Whether the numbers of a box are fractions of the image and not pixels. Null is false for CSV and
            JSON, and true for YOLO, which has no other.
        annotation_pixels: What boxes and masks were drawn on: the image as a viewer shows it (`shown`), or its pixels
            as the file stores them (`stored`). It makes a difference for images with an EXIF orientation.
        channels: The number of channels of all images. Null reads photographs in RGB, as a viewer shows them.
        pixel_type: The type of the numbers in all image files, if `channels` is set, by its name in NumPy.
        value_range: The two numbers of a file that become 0 and 1, before `mean` and `std`. Numbers outside of it
            become less than 0 or more than 1. Null is `[0, 255]` for `uint8`, and an error for other types.
        channels_first: Whether `.npy` files hold arrays (C, H, W) and not (H, W, C).
        shown_channels: The channels that pictures show, numbered from 0: three as red, green and blue, or one in gray.
            Null shows one channel in gray, two by the first one, and otherwise the first three.
        **kwargs: The arguments of `ImageDataModule`.

    If `mean` and `std` are null, they are ImageNet's for three channels, and 0.5 for any other number.

    Raises:
        FileNotFoundError: If `root` has no images of any class, or the boxes or the masks do not exist.
        ValueError: If an argument is out of range, a class is unknown, or a folder has no images.
    """

    added_settings: ClassVar[dict[str, Any]] = {
        "channels": None,
        "pixel_type": "uint8",
        "value_range": None,
        "channels_first": False,
        "shown_channels": None,
    }
    """What is no part of the configuration of a study where it is the default, which it was before there were these."""

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
        boxes_json: str | None = None,
        boxes_yolo: str | None = None,
        boxes_format: FormatName | None = None,
        normalized: bool | None = None,
        annotation_pixels: AnnotationPixels = "shown",
        channels: int | None = None,
        pixel_type: PixelType = "uint8",
        value_range: tuple[float, float] | None = None,
        channels_first: bool = False,
        shown_channels: list[int] | None = None,
        **kwargs: Any,
    ) -> None:
        self.pixel_format = _pixel_format(channels, pixel_type, value_range, channels_first)
        if channels is not None:
            self.default_mean, self.default_std = usual_normalization(channels)
        super().__init__(**kwargs)
        if channels is not None and self.num_channels != channels:
            raise ValueError(f"`mean`: expected {channels} numbers, one for each channel, got {self.num_channels}")
        if shown_channels is not None:
            check_shown_channels(shown_channels, self.num_channels)
        self.shown_channels = shown_channels
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
        if annotation_pixels not in get_args(AnnotationPixels):
            raise ValueError(f"`annotation_pixels`: expected shown or stored, got {annotation_pixels!r}")
        self.annotation_pixels: AnnotationPixels = annotation_pixels
        files = {"boxes_csv": boxes_csv, "boxes_json": boxes_json, "boxes_yolo": boxes_yolo}
        self._folder_boxes = FolderBoxes.of(files, boxes_format, normalized)
        self.masks_root = None if masks_root is None else absolute_path("masks_root", masks_root, Path.is_dir)
        self.val_fraction = 0.1 if val_fraction is None else val_fraction
        self.test_fraction = self._default_test_fraction if test_fraction is None else test_fraction
        if self.val_fraction + self.test_fraction >= 1:
            raise ValueError(
                "`test_fraction`: expected a fraction that leaves training images beside val_fraction = "
                f"{self.val_fraction}, got {self.test_fraction}"
            )
        left_out = {path.name for path in self._annotation_in(self._class_folders)} | self._written_here()
        self._all_class_names = [name for name in _folders(self._class_folders) if name not in left_out]
        if not self._all_class_names:
            raise ValueError(f"`root`: expected one folder per class in {self._class_folders}, found none")
        self._check_that_classes_are_no_splits()
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

    def _written_here(self) -> set[str]:
        """The names of folders among those of the classes that camtrain has written its own files to."""
        folder, maybe_runs = self._class_folders, self._class_folders == self.root  # which may be the working folder
        found = {name for name in _folders(folder) if is_written_by_camtrain(folder / name, maybe_runs=maybe_runs)}
        if found:
            names = ", ".join(sorted(found))
            rank_zero_warn(f"`root`: {names} in {self._class_folders} is left out, since camtrain has written it")
        return found

    def _check_that_classes_are_no_splits(self) -> None:
        """In a tree of classes alone, `Training` and `Testing` would be two classes, learned from each other."""
        names = self._all_class_names
        if self._class_folders == self.root and len(names) > 1 and all(map(_SPLIT.search, names)):
            raise ValueError(
                f"`root`: expected the folders of classes in {self.root}, found {', '.join(names)}, which are called "
                "like splits; rename them to train, val and test"
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
        return self._folder_boxes is not None or self.has_masks

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
        numbers = {name: number for number, name in enumerate(self.class_names)}
        boxes, masks = self._boxes, self._masks
        files = [
            ImageFile(
                path,
                label=numbers[class_name],
                boxes=boxes.get(self._relative(path), ()) if boxes else (),
                mask=masks.get(self._relative(path)) if masks else None,
            )
            for class_name, path in self._images(split)
            if class_name in numbers
        ]
        return ImageFileSamples(
            files,
            has_boxes=self.has_boxes,
            has_masks=self.has_masks,
            annotation_pixels=self.annotation_pixels,
            pixel_format=self.pixel_format,
        )

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
        numbers = {name: number for number, name in enumerate(self._all_class_names)}
        labels = [numbers[class_name] for class_name, _ in self._tree["train"]]
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
        there = {split: folder for split, folder in folders.items() if folder.is_dir()}
        listings: list[FolderListing] = []
        found = {split: self._images_in_folder(folder, listings) for split, folder in there.items()}
        self._warn_of_unread(list(there.values()), listings)
        return found

    def _warn_of_unread(self, folders: list[Path], listings: list[FolderListing]) -> None:
        """Warn of what looks as if it belonged to the data, and does not."""
        if self._class_folders != self.root:
            beside = folders_beside(self.root, [*folders, *self._annotation_in(self.root)])
            meant = "rename them to train, val or test if they are splits"
            warn_of_unread("root", "folders beside the splits", beside, meant)
        bare = [
            path
            for folder in dict.fromkeys([self.root, *folders])
            for path in images_directly_in(folder, self._has_arrays)
        ]
        warn_of_unread("root", "images in no folder of a class", bare, "move them into the folder of their class")
        linked = [path for listing in listings for path in listing.linked_folders()]
        in_links = "link the files, or the folder of the class itself"
        warn_of_unread("root", "linked folders below the folder of a class", linked, in_links)
        others = [path for listing in listings for path in listing.other_files()]
        remedy = "convert them to PNG or JPEG"
        if any(path.suffix.lower() in ARRAY_EXTENSIONS for path in others):
            remedy = "set `channels`, the number of their channels, if the arrays are images"
        warn_of_unread("root", "files of a type that Pillow does not read", others, remedy)
        if self.masks_root is not None:
            linked = self._mask_listing.linked_folders()
            warn_of_unread("masks_root", "linked folders", linked, "link the files")

    def _annotation_in(self, folder: Path) -> list[Path]:
        """The folders directly in a folder that are, or hold, the masks or the boxes."""
        given = [self.masks_root, None if self._folder_boxes is None else self._folder_boxes.path]
        inside = [path.relative_to(folder) for path in given if path is not None and folder in path.parents]
        return [folder / path.parts[0] for path in inside if (folder / path.parts[0]).is_dir()]

    def _images_in_folder(self, of_split: Path, listings: list[FolderListing]) -> list[tuple[str, Path]]:
        images = []
        for class_name in self._all_class_names if of_split == self._class_folders else _folders(of_split):
            folder = of_split / class_name
            if class_name not in self._all_class_names:
                raise ValueError(
                    f"`root`: {folder} is not a class of {self._class_folders}; "
                    f"{nearest_names(class_name, self._all_class_names)}"
                )
            listing = FolderListing(folder, self._has_arrays)
            listings.append(listing)
            if wrong := listing.no_images():
                raise DataError(
                    f"`root`: {wrong[0]} has the name of an image and is "
                    f"{'an empty folder' if wrong[0].is_dir() else 'no file'}; delete or rename it"
                )
            paths = listing.images()
            if not paths:
                raise DataError(f"`root`: there are no images in {folder}")
            images += [(class_name, path) for path in paths]
        if not images:
            raise ValueError(f"`root`: there are no images in {of_split}")
        return images

    @cached_property
    def _boxes(self) -> dict[str, tuple[Box, ...]]:
        if self._folder_boxes is None:
            return {}
        return self._folder_boxes.boxes(self.root, self._class_of, self.annotation_pixels, self.pixel_format)

    @cached_property
    def _masks(self) -> dict[str, Path]:
        if self.masks_root is None:
            return {}
        return matched_files("masks_root", "mask", self.masks_root, self._mask_listing.images(), self._class_of)

    @cached_property
    def _mask_listing(self) -> FolderListing:
        assert self.masks_root is not None
        return FolderListing(self.masks_root)

    @property
    def _class_of(self) -> dict[str, str]:
        """The name of the class of each image in the folders, by its path relative to `root`."""
        return {self._relative(path): name for split in self._tree.values() for name, path in split}

    @property
    def _has_arrays(self) -> bool:
        """Whether arrays are images."""
        return self.pixel_format is not None

    def _has(self, split: Split) -> bool:
        return (self.root / split).is_dir()

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


def _pixel_format(
    channels: int | None, pixel_type: PixelType, value_range: tuple[float, float] | None, channels_first: bool
) -> PixelFormat | None:
    """What the settings say that image files hold; `None` is photographs."""
    if channels is not None:
        return PixelFormat(channels, pixel_type, value_range, channels_first)
    for name, value, default in (
        ("pixel_type", pixel_type, "uint8"),
        ("value_range", value_range, None),
        ("channels_first", channels_first, False),
    ):
        if value != default:
            raise ValueError(f"`{name}`: expected the default without `channels`, the number of channels, got {value}")
    return None


def _folders(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
