"""Samples that are read from image files when they are asked for."""

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
from camtrain.metrics.tight_box import tight_box

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class ImageFile:
    """One image file and what is known about it.

    Attributes:
        path: the image.
        label: class index.
        boxes: xyxy pixels, half-open; empty if unknown.
        mask: file of the mask; `None` if unknown.
    """

    path: Path
    label: int
    boxes: tuple[Box, ...] = ()
    mask: Path | None = None


class ImageFileSamples(Dataset[Sample]):
    """Samples read from files.

    An image without boxes but with a mask gets the tight box around the mask. If any file of the data set has boxes or
    a mask, every sample has them, as zero boxes or a mask that is nowhere true where they are unknown.

    Args:
        files: one per sample.
        has_boxes: whether the samples carry boxes.
        has_masks: whether the samples carry masks.
        mask_reader: from a mask file to (H, W) bool.

    Raises:
        ValueError: on access, if a file cannot be read or if a mask has another size than its image; with the path.
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
        """Class index of each sample."""
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
            raise ValueError(
                f"the mask {file.mask} is {mask.shape[1]}x{mask.shape[0]} pixels (width x height), "
                f"but its image {file.path} is {size[1]}x{size[0]}"
            )
        return mask
