"""Oxford-IIIT Pet: photographs of cats and dogs of 37 breeds, with trimaps."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor
from torchvision import datasets
from torchvision.transforms import v2

from camtrain.data.class_subset import class_subset
from camtrain.data.image_data_module import ImageDataModule, Split
from camtrain.data.image_file import label_map
from camtrain.data.image_file_samples import ImageFile, ImageFileSamples
from camtrain.data.stratified_split import stratified_split
from camtrain.files import local_path
from camtrain.messages import DataError, checked_fraction, positive_integer

PET, BACKGROUND, BORDER = 1, 2, 3


def pet_mask(path: Path, border_is_object: bool = True) -> Tensor:
    """The object mask of a trimap file, whose pixels are 1 (pet), 2 (background) or 3 (border, not classified).

    Args:
        path: The trimap file.
        border_is_object: Whether border pixels count as the object.

    Returns:
        The mask, (H, W) bool.

    Raises:
        FileNotFoundError: If there is no such file.
        DataError: If the file cannot be read or holds another number; it is a `ValueError`.
    """
    trimap = label_map(path)
    if trimap.min() < PET or trimap.max() > BORDER:
        raise DataError(
            f"the trimap {path} should hold 1, 2 and 3 only, got numbers from {trimap.min()} to {trimap.max()}"
        )
    return trimap != BACKGROUND if border_is_object else trimap == PET


class OxfordPet(ImageDataModule):
    """Oxford-IIIT Pet: photographs of 37 breeds with a mask of the animal, and the tight box around it.

    The breeds are those in the annotation files, in the order of the official labels, so a subset of the data set works
    too. An image whose trimap is all background has neither box nor mask.

    The border band of a trimap is a few percent of the image wide, and holds paws, ears and harness together with a rim
    of background. It counts as the object by default, since without it the boxes cut into the animal (in the median,
    their area is 19 % smaller).

    A training crop keeps at least half of the area of the image. The shorter side of validation and test images is
    scaled to `image_size`, and their center is cropped.

    Args:
        root: The folder that holds, or will hold, `oxford-iiit-pet/images` and `oxford-iiit-pet/annotations`.
        download: Whether to download the data set into `root` if it is not there.
        image_size: The height and width of the images in a batch, in pixels.
        val_fraction: The fraction of the `trainval` images that is held out for validation, the same in every breed.
        classes: The breeds to use, numbered in this order; null uses all.
        border_is_object: Whether the border pixels of the trimaps belong to the object.
        **kwargs: The arguments of `ImageDataModule`.

    Raises:
        FileNotFoundError: If the annotations are not in `root` and `download` is false.
        ValueError: If an annotation file cannot be understood, or an argument is out of range.

    Source: Parkhi et al., "Cats and Dogs", CVPR 2012; in the layout of `torchvision.datasets.OxfordIIITPet`.
    """

    def __init__(
        self,
        root: str = "data",
        download: bool = False,
        image_size: int = 224,
        val_fraction: float = 0.2,
        classes: list[str] | None = None,
        border_is_object: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.root = str(local_path(root, "root"))
        self.download = download
        self.image_size = positive_integer("image_size", image_size)
        self.val_fraction = checked_fraction("val_fraction", val_fraction, zero=False, one=False)
        self.border_is_object = border_is_object
        self._class_names = class_subset(self._breeds(), classes)

    @property
    def class_names(self) -> list[str]:
        """The names of the breeds, in the order of their indices."""
        return self._class_names

    @property
    def has_boxes(self) -> bool:
        """True: the boxes are derived from the trimaps."""
        return True

    @property
    def has_masks(self) -> bool:
        """True: the masks are read from the trimaps."""
        return True

    def prepare_data(self) -> None:
        """Download the data set if `download` is true and it is not there yet."""
        if self.download:
            datasets.OxfordIIITPet(self.root, download=True)

    def default_train_transform(self) -> list[v2.Transform]:
        """A random crop of at least half of the area of the image, and a random flip."""
        return [v2.RandomResizedCrop(self.image_size, scale=(0.5, 1.0)), v2.RandomHorizontalFlip()]

    def default_eval_transform(self) -> list[v2.Transform]:
        """The largest central square, scaled to `image_size`."""
        return [v2.Resize(self.image_size), v2.CenterCrop(self.image_size)]

    def samples(self, split: Split) -> ImageFileSamples:
        """The photographs of a split that belong to the chosen breeds, with mask and box.

        Raises:
            FileNotFoundError: If the data set is not in `root`.
            ValueError: If an annotation file cannot be understood; on access, if an image cannot be read.
        """
        annotations = self._annotations("test" if split == "test" else "trainval")
        if split != "test":
            # Split before choosing classes, so that an image is in the same split for every choice of classes.
            train, val = stratified_split([label for _, _, label in annotations], self.val_fraction, self.seed)
            annotations = [annotations[index] for index in (train if split == "train" else val)]
        files = [
            ImageFile(
                path=self._folder / "images" / f"{image_id}.jpg",
                label=self.class_names.index(breed),
                mask=self._folder / "annotations" / "trimaps" / f"{image_id}.png",
            )
            for image_id, breed, _ in annotations
            if breed in self.class_names
        ]
        mask_reader = partial(pet_mask, border_is_object=self.border_is_object)
        return ImageFileSamples(
            files, has_boxes=True, has_masks=True, mask_reader=mask_reader, annotation_pixels="stored", is_setting=False
        )

    @property
    def _folder(self) -> Path:
        return Path(self.root, "oxford-iiit-pet").absolute()

    def _breeds(self) -> list[str]:
        if self.download and not (self._folder / "annotations").is_dir():
            return list(ALL_BREEDS)
        breed_of_label: dict[int, str] = {}
        for split in ("trainval", "test"):
            for _, breed, label in self._annotations(split):
                other = breed_of_label.setdefault(label, breed)
                if other != breed:
                    raise ValueError(f"{self._folder}: label {label} stands for two breeds, {other!r} and {breed!r}")
        return [breed_of_label[label] for label in sorted(breed_of_label)]

    def _annotations(self, split: str) -> list[tuple[str, str, int]]:
        """Image id, breed and official label of each image in the annotation file of a split."""
        path = self._folder / "annotations" / f"{split}.txt"
        if not path.is_file():
            raise FileNotFoundError(
                f"`root`: expected Oxford-IIIT Pet in {self._folder}, but {path} does not exist; `download=True` "
                f"downloads it, or unpack the archives of images and annotations in that folder"
            )
        annotations = []
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if not line.strip() or line.startswith("#"):
                continue
            image_id, *numbers = line.split()
            breed, separator, _ = image_id.rpartition("_")
            if not separator or not numbers or not numbers[0].isdecimal():
                raise DataError(f"{path}, line {number}: expected `Breed_number label species breed`, got {line!r}")
            annotations.append((image_id, " ".join(word.title() for word in breed.split("_")), int(numbers[0])))
        return annotations


# The breeds before a download; afterwards they are read from the annotation files.
ALL_BREEDS = (
    "Abyssinian",
    "American Bulldog",
    "American Pit Bull Terrier",
    "Basset Hound",
    "Beagle",
    "Bengal",
    "Birman",
    "Bombay",
    "Boxer",
    "British Shorthair",
    "Chihuahua",
    "Egyptian Mau",
    "English Cocker Spaniel",
    "English Setter",
    "German Shorthaired",
    "Great Pyrenees",
    "Havanese",
    "Japanese Chin",
    "Keeshond",
    "Leonberger",
    "Maine Coon",
    "Miniature Pinscher",
    "Newfoundland",
    "Persian",
    "Pomeranian",
    "Pug",
    "Ragdoll",
    "Russian Blue",
    "Saint Bernard",
    "Samoyed",
    "Scottish Terrier",
    "Shiba Inu",
    "Siamese",
    "Sphynx",
    "Staffordshire Bull Terrier",
    "Wheaten Terrier",
    "Yorkshire Terrier",
)
