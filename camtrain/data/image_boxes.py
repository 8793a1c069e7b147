"""The boxes of the images in a folder, collected from a file of any type and checked one by one."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from pytorch_lightning.utilities import rank_zero_warn

from camtrain.data.box_format import Box, BoxFormat
from camtrain.data.image_file import image_size
from camtrain.data.image_file_samples import other_pixels
from camtrain.data.upright import AnnotationPixels
from camtrain.messages import CamtrainWarning, DataError
from camtrain.pixel_format import PixelFormat

_SHOWN = 80  # characters of a text in a message


class ImageBoxes:
    """The boxes of images, each checked as it is added.

    Args:
        source: The file or folder that they come from, for messages.
        root: The folder that the paths of images are relative to.
        images: All images that exist, as paths relative to `root` with forward slashes.
        box_format: What the numbers mean.
        pixels: What the boxes were drawn on.
        pixel_format: What image files hold, if that is stated.
    """

    def __init__(
        self,
        source: Path,
        root: Path,
        images: Iterable[str],
        box_format: BoxFormat,
        pixels: AnnotationPixels = "shown",
        pixel_format: PixelFormat | None = None,
    ) -> None:
        self.source = source
        self._root = root
        self._images = {same_name(image): image for image in images}
        self._format = box_format
        self._pixels: AnnotationPixels = pixels
        self._pixel_format = pixel_format
        self._boxes: dict[str, dict[Box, str]] = {}
        self._sizes: dict[str, tuple[int, int]] = {}
        self._thin: list[str] = []

    def image(self, path: str) -> str:
        """The image that a path of the file means.

        Raises:
            ValueError: If there is none.
        """
        image = self._images.get(same_name(str(PurePosixPath(path.strip()))))
        if image is None:
            raise ValueError(
                f"no image {short(path)} in {self._root}; paths are relative to that folder, with forward slashes, "
                f"such as {min(self._images.values(), default='')!r}"
            )
        return image

    def size(self, image: str) -> tuple[int, int]:
        """The height and width of the pixels that boxes of an image were drawn on."""
        if image not in self._sizes:
            self._sizes[image] = image_size(self._root / image, self._pixels, self._pixel_format)
        return self._sizes[image]

    def check_size(self, image: str, size: tuple[int, int]) -> None:
        """Check that an image has the height and width that a file says.

        Raises:
            ValueError: If it has not.
        """
        height, width = self.size(image)
        if (height, width) != size:
            raise ValueError(
                f"expected {image!r} to have {size[1]}x{size[0]} pixels (width x height), and it has {width}x{height}"
                f"{self.other_pixels(image)}"
            )

    def add(self, image: str, numbers: Sequence[float], place: str) -> None:
        """Add a box.

        Args:
            image: What `image` has returned.
            numbers: Four numbers.
            place: Where in the file it is, such as `line 3`.

        Raises:
            ValueError: If the numbers are not what they are said to be, or the image has the same box already.
        """
        size = self.size(image)
        try:
            box = self._format.box(numbers, size)
        except ValueError as error:
            hint = self.other_pixels(image) if "is not inside" in str(error) else ""
            raise ValueError(f"{error}{hint}") from None
        if min(box[2] - box[0], box[3] - box[1]) < 1:
            self._thin.append(f"{place} ({image}, {box[2] - box[0]:g}x{box[3] - box[1]:g} pixels)")
            return
        first = self._boxes.setdefault(image, {}).setdefault(box, place)
        if first != place:
            raise ValueError(f"the same box of the same image as in {first}; delete one of them")

    def other_pixels(self, image: str) -> str:
        """A clause for a message, if the image is turned by its EXIF orientation."""
        return other_pixels(self._root / image, self._pixels, self._pixel_format)

    def found(self, argument: str) -> dict[str, tuple[Box, ...]]:
        """All boxes by image; images without boxes are left out.

        A warning names those that are thinner than a pixel, which are left out too.

        Args:
            argument: The setting that names the file, for messages.

        Raises:
            DataError: If there is no box.
        """
        if self._thin:
            thin = f"{len(self._thin)} boxes thinner than a pixel, such as that in {self._thin[0]}"
            if not self._boxes:
                raise DataError(
                    f"{self.source}: expected boxes, got only {thin}; they are taken for {self._format}: "
                    "`boxes_format` and `normalized` say what they are"
                )
            rank_zero_warn(f"{self.source}: {thin}, are left out", category=CamtrainWarning)
        if not self._boxes:
            raise DataError(f"{self.source}: expected boxes, got none; without boxes, leave out `{argument}`")
        return {image: tuple(boxes) for image, boxes in self._boxes.items()}


def same_name(path: str) -> str:
    r"""A path in the Unicode normalization in which paths are compared: file systems and tools differ in theirs.

    Example:
        >>> same_name("e\u0301") == same_name("\u00e9")
        True
    """
    return unicodedata.normalize("NFC", path)


def short(text: str) -> str:
    """A text, quoted and cut for a message."""
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")
