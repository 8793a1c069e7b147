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
from camtrain.data.image_file import object_mask, rgb_image
from camtrain.messages import DataError
from camtrain.metrics.tight_box import tight_box

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class ImageFile:
    """An image file with its label, boxes and mask.

    Attributes:
        path: The image file.
        label: The class index.
        boxes: The boxes in half-open xyxy pixels; empty if unknown.
        mask: The mask file; `None` if unknown.
    """

    path: Path
    label: int
    boxes: tuple[Box, ...] = ()
    mask: Path | None = None


class ImageFileSamples(Dataset[Sample]):
    """Samples read from files.

    An image with a mask and no box gets the tight box around the mask. Either all samples of the data set have boxes
    (or masks), or none: a sample whose boxes are unknown has zero boxes, and an unknown mask is nowhere true.

    Args:
        files: The file of each sample.
        has_boxes: Whether the samples have boxes.
        has_masks: Whether the samples have masks.
        mask_reader: A function from a mask file to (H, W) bool.

    Raises:
        DataError: On access, with the path, if a file cannot be read or a mask and its image differ in size; it is a
            `ValueError`.
    """

    def __init__(
        self,
        files: Sequence[ImageFile],
        *,
        has_boxes: bool = False,
        has_masks: bool = False,
        mask_reader: Callable[[Path], Tensor] = object_mask,
    ) -> None:
        self.files = files
        self.has_boxes = has_boxes
        self.has_masks = has_masks
        self.mask_reader = mask_reader

    def __len__(self) -> int:
        return len(self.files)

    @property
    def labels(self) -> list[int]:
        """The class index of each sample."""
        return [file.label for file in self.files]

    def __getitem__(self, index: int) -> Sample:
        file = self.files[index]
        image = rgb_image(file.path)
        size = (int(image.shape[-2]), int(image.shape[-1]))
        sample: Sample = {"image": image, "label": file.label}
        mask = self._mask(file, size)
        if self.has_masks:
            sample["mask"] = tv_tensors.Mask(mask)
        if self.has_boxes:
            boxes = torch.tensor(file.boxes, dtype=torch.float32) if file.boxes else tight_box(mask)
            sample["boxes"] = tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=size)
        return sample

    def _mask(self, file: ImageFile, size: tuple[int, int]) -> Tensor:
        if file.mask is None:
            return torch.zeros(size, dtype=torch.bool)
        mask = self.mask_reader(file.mask)
        if mask.shape != size:
            raise DataError(
                f"the mask {file.mask} is {mask.shape[1]}x{mask.shape[0]} pixels (width x height), "
                f"but its image {file.path} is {size[1]}x{size[0]}"
            )
        return mask
