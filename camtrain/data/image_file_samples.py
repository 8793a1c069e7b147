"""Samples that are read from image files on access."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors

from camtrain.batch import Sample
from camtrain.data.image_file import image_orientation, object_mask, rgb_image
from camtrain.data.stored_image import stored_image
from camtrain.data.upright import AnnotationPixels, lies_on_its_side, upright_boxes, upright_pixels
from camtrain.messages import DataError
from camtrain.metrics.tight_box import tight_box
from camtrain.pixel_format import PixelFormat

Box = tuple[float, float, float, float]

_OUTSIDE = 1.0  # pixels by which a box may leave its image, as rounded ones do, and those that count pixels from 1


@dataclass(frozen=True)
class ImageFile:
    """An image file with its label, boxes and mask.

    Attributes:
        path: The image file.
        label: The class index; of an image with several classes, that of its largest object.
        boxes: The boxes in half-open xyxy pixels; empty if unknown. They may leave the image by a pixel.
        mask: The mask file, or a function that makes the mask, (H, W) bool, and whose text names it in messages; `None`
            if unknown.
        classes: The class indices of all objects; empty if the label says it all.
        group: The index of the group of images that it belongs to; `None` if there are no groups.
        size: The height and width of the picture that boxes and mask were drawn on; `None` if nothing says it.
    """

    path: Path
    label: int
    boxes: tuple[Box, ...] = ()
    mask: Path | Callable[[], Tensor] | None = None
    classes: tuple[int, ...] = ()
    group: int | None = None
    size: tuple[int, int] | None = None


class ImageFileSamples(Dataset[Sample]):
    """Samples read from files.

    An image with a mask and no box gets the tight box around the mask. Either all samples of the data set have boxes
    (or masks), or none: a sample whose boxes are unknown has zero boxes, and an unknown mask is nowhere true.

    An image is what a viewer shows (see `rgb_image`) unless its format is stated, and boxes and masks are made to fit
    it.

    Args:
        files: The file of each sample.
        has_boxes: Whether the samples have boxes.
        has_masks: Whether the samples have masks.
        mask_reader: A function from a mask file to (H, W) bool.
        annotation_pixels: What boxes and masks were drawn on. `shown`: the image as a viewer shows it. `stored`: its
            pixels before they are turned as the EXIF orientation says; boxes and masks are turned with them. A mask
            file with an EXIF orientation of its own is turned as that says. Where the `size` of a file is that of one
            of the two only, that one is taken.
        is_setting: Whether the user sets `annotation_pixels`, so that messages about it help.
        pixel_format: What image files hold, all of whose channels are then read (see `stored_image`); `None` reads what
            a viewer shows.
        num_classes: The number of classes K, if labels are (K,) numbers, 1 for each of the image's classes; `None`
            makes them class indices.

    Raises:
        DataError: On access, with the path, if a file cannot be read, a mask and its image differ in size, an image
            with boxes or a mask has not the `size` that they belong to, or a box leaves its image by more than a pixel;
            it is a `ValueError`.

    Example:
        A tile of four channels of 16 bits that shows two of three classes:

        >>> import tempfile
        >>> import numpy as np
        >>> path = Path(tempfile.mkdtemp()) / "tile.npy"
        >>> np.save(path, np.full((8, 8, 4), 5000, dtype=np.uint16))
        >>> tile = ImageFile(path, label=0, classes=(0, 2))
        >>> samples = ImageFileSamples([tile], num_classes=3, pixel_format=PixelFormat(4, "uint16", (0, 10000)))
        >>> samples[0]["image"].shape, samples[0]["image"].amax(), samples[0]["label"]
        (torch.Size([4, 8, 8]), tensor(0.5000), tensor([1., 0., 1.]))
    """

    def __init__(
        self,
        files: Sequence[ImageFile],
        *,
        has_boxes: bool = False,
        has_masks: bool = False,
        mask_reader: Callable[[Path], Tensor] = object_mask,
        annotation_pixels: AnnotationPixels = "shown",
        is_setting: bool = True,
        num_classes: int | None = None,
        pixel_format: PixelFormat | None = None,
    ) -> None:
        self.files = files
        self.pixel_format = pixel_format
        self.has_boxes = has_boxes
        self.has_masks = has_masks
        self.mask_reader = mask_reader
        self.annotation_pixels = annotation_pixels
        self.is_setting = is_setting
        self.num_classes = num_classes

    def __len__(self) -> int:
        return len(self.files)

    @property
    def labels(self) -> list[int]:
        """The class index of each sample; of an image with several classes, that of its largest object."""
        return [file.label for file in self.files]

    @property
    def shown_classes(self) -> list[tuple[int, ...]] | None:
        """The indices of the classes of each sample; `None` if each sample has one label."""
        if self.num_classes is None:
            return None
        return [tuple(sorted(set(file.classes or (file.label,)))) for file in self.files]

    def __getitem__(self, index: int) -> Sample:
        file = self.files[index]
        known = self.pixel_format
        image = rgb_image(file.path) if known is None else stored_image(file.path, known)
        size = (int(image.shape[-2]), int(image.shape[-1]))
        sample: Sample = {"image": image, "label": self._label(file)}
        mask = self.mask_of(file, size)
        if self.has_masks:
            sample["mask"] = tv_tensors.Mask(mask)
        if self.has_boxes:
            boxes = self.boxes_of(file, size) if file.boxes else tight_box(mask)
            sample["boxes"] = tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=size)
        if file.group is not None:
            sample["group"] = file.group
        return sample

    def _label(self, file: ImageFile) -> int | Tensor:
        if self.num_classes is None:
            return file.label
        present = torch.zeros(self.num_classes)
        present[list(file.classes or (file.label,))] = 1
        return present

    def _turn(self, file: ImageFile, shown: tuple[int, int]) -> int:
        """The orientation by which boxes and masks are to be turned, of a file that is shown with a size."""
        if file.size is None:
            return image_orientation(file.path, self.pixel_format) if self.annotation_pixels == "stored" else 1
        orientation = image_orientation(file.path, self.pixel_format)
        height, width = shown
        stored = (width, height) if lies_on_its_side(orientation) else shown
        if file.size not in (stored, shown):
            raise DataError(
                f"the image {file.path} is {stored[1]}x{stored[0]} pixels (width x height), and its annotation belongs "
                f"to {file.size[1]}x{file.size[0]}; use the image that was annotated, or correct the size"
            )
        if stored == shown:  # the size does not tell
            return orientation if self.annotation_pixels == "stored" else 1
        return orientation if file.size == stored else 1

    def _other_pixels(self, file: ImageFile) -> str:
        if file.size is not None:  # it has decided
            return ""
        return other_pixels(file.path, self.annotation_pixels, self.pixel_format, self.is_setting)

    def boxes_of(self, file: ImageFile, size: tuple[int, int]) -> Tensor:
        """The boxes of a file on the image as it is shown, (M, 4) float32 xyxy; they may leave it by a pixel.

        Args:
            file: The file.
            size: The height and width of the image as it is shown.

        Raises:
            DataError: If a box leaves the image further, or belongs to an image of another size.
        """
        boxes = upright_boxes(
            torch.tensor(file.boxes, dtype=torch.float32).reshape(-1, 4), self._turn(file, size), size
        )
        height, width = size
        outside = (boxes < -_OUTSIDE) | (boxes > boxes.new_tensor([width, height, width, height]) + _OUTSIDE)
        if outside.any():
            wrong = boxes[outside.any(dim=1)][0].tolist()
            raise DataError(
                f"a box of {file.path} is not inside the image of {width}x{height} pixels (width x height): "
                f"({', '.join(f'{edge:g}' for edge in wrong)}){self._other_pixels(file)}"
            )
        return boxes

    def mask_of(self, file: ImageFile, size: tuple[int, int]) -> Tensor:
        """The mask of a file on the image as it is shown, (H, W) bool; nowhere true if it is not known.

        Args:
            file: The file.
            size: The height and width of the image as it is shown.

        Raises:
            DataError: If the mask cannot be read, or has another size.
        """
        if file.mask is None:
            return torch.zeros(size, dtype=torch.bool)
        mask = self.mask_reader(file.mask) if isinstance(file.mask, Path) else file.mask()
        turns_itself = isinstance(file.mask, Path) and image_orientation(file.mask) != 1
        mask = mask if turns_itself else upright_pixels(mask, self._turn(file, size))
        if mask.shape != size:
            raise DataError(
                f"the mask {file.mask} is {mask.shape[1]}x{mask.shape[0]} pixels (width x height), "
                f"but its image {file.path} is {size[1]}x{size[0]}"
                f"{self._other_pixels(file)}"
            )
        return mask


def other_pixels(
    path: Path, pixels: AnnotationPixels, pixel_format: PixelFormat | None = None, is_setting: bool = True
) -> str:
    """A clause for a message about an annotation that does not fit, if its image lies on its side.

    Args:
        path: The image file.
        pixels: What the annotation is taken to be drawn on.
        pixel_format: What the image file holds, if that is stated.
        is_setting: Whether the user sets `annotation_pixels`.
    """
    if not lies_on_its_side(image_orientation(path, pixel_format)):
        return ""
    if not is_setting:
        return f"; its EXIF orientation turns the image, and its annotation is expected for the image as it is {pixels}"
    other = "stored" if pixels == "shown" else "shown"
    return (
        f"; its EXIF orientation turns the image, and `annotation_pixels` is {pixels}: set {other} if it was annotated "
        f"as it is {other}"
    )
