"""Samples of a small data set in memory."""

from __future__ import annotations

from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors

from camtrain.batch import Sample


class InMemorySamples(Dataset[Sample]):
    """Samples taken from tensors.

    Args:
        images: The images, (N, C, H, W) uint8.
        labels: The class indices, (N,) int64; or (N, K) float, 1 for the classes that an image shows.
        boxes: One box per image in half-open xyxy pixels, (N, 4) float32; `None` if unknown.
        masks: True on the object, (N, H, W) bool; `None` if unknown.

    Raises:
        ValueError: If `labels`, `boxes` or `masks` are not one per image.

    Example:
        >>> import torch
        >>> samples = InMemorySamples(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.tensor([4, 7]))
        >>> len(samples), samples[1]["label"], sorted(samples[1])
        (2, 7, ['image', 'label'])
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
    ) -> None:
        for name, part in {"labels": labels, "boxes": boxes, "masks": masks}.items():
            if part is not None and len(part) != len(images):
                raise ValueError(f"`{name}`: expected one per image, {len(images)}, got {len(part)}")
        self.images = images
        self.labels = labels
        self.boxes = boxes
        self.masks = masks

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        label = int(self.labels[index]) if self.labels.dim() == 1 else self.labels[index]
        sample: Sample = {"image": tv_tensors.Image(self.images[index]), "label": label}
        if self.boxes is not None:
            size = (int(self.images.shape[-2]), int(self.images.shape[-1]))
            sample["boxes"] = tv_tensors.BoundingBoxes(self.boxes[index, None], format="XYXY", canvas_size=size)
        if self.masks is not None:
            sample["mask"] = tv_tensors.Mask(self.masks[index])
        return sample
