"""The raw samples of a data set, transformed into the input of a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from camtrain.batch import Sample, are_finite
from camtrain.messages import DataError, sample_name


class Samples(Protocol):
    """Anything with a length and an index that yields raw samples: images, boxes and masks."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...


# The largest number of these types is white.
_SCALED_TYPES = (torch.bool, torch.uint8, torch.uint16)


class TransformedSamples(Dataset[Sample]):
    """Samples after transforms, with normalized float32 images.

    Image, boxes and mask go through the transforms together. Then boxes are clamped to the image, and boxes of which
    less than one pixel is left are dropped. The image is converted to float32 in [0, 1] and becomes
    `(image - mean) / std`.

    Args:
        samples: The raw samples, with images (C, H, W), uint8 or floating-point numbers that are meant for [0, 1].
        transform: Transforms of `torchvision.transforms.v2`; may be empty.
        mean: The mean of each channel, in [0, 1].
        std: The standard deviation of each channel, in [0, 1].

    Raises:
        TypeError: If a transform is not of that module; version 1 of torchvision's transforms cannot move boxes and
            masks.
        DataError: On access, with the file's name where it is known, if a transform fails, or leaves NaN or infinity in
            the image, or another number of channels than `mean` has; it is a `ValueError`.

    Example:
        >>> image = tv_tensors.Image(torch.full((3, 4, 4), 255, dtype=torch.uint8))
        >>> samples = TransformedSamples([{"image": image, "label": 1}], [v2.CenterCrop(2)], (0.5,) * 3, (0.25,) * 3)
        >>> samples[0]["image"].shape, float(samples[0]["image"].max())
        (torch.Size([3, 2, 2]), 2.0)
    """

    def __init__(
        self,
        samples: Samples,
        transform: Sequence[v2.Transform],
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        for module in transform:
            if not isinstance(module, v2.Transform):
                raise TypeError(
                    f"`transform`: expected transforms of torchvision.transforms.v2, which move boxes and masks "
                    f"with the image, got {type(module).__module__}.{type(module).__name__}"
                )
        self.samples = samples
        self.transform = nn.Sequential(*transform)  # v2.Compose would refuse an empty list
        self.mean, self.std = list(mean), list(std)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        if not -len(self) <= index < len(self):
            raise IndexError(f"`index`: expected less than {len(self)}, got {index}")
        stored = dict(self.samples[index])
        try:
            sample = cast(Sample, self.transform(stored))
            if "boxes" in sample:
                sample["boxes"] = _visible_boxes(sample["boxes"])
            is_computed = sample["image"].is_floating_point()  # pixels of 8 bits are finite, and stay so
            sample["image"] = tv_tensors.Image(normalized(sample["image"], self.mean, self.std))
        except (ValueError, RuntimeError) as error:
            raise DataError(f"{sample_name(self.samples, index)} cannot be transformed: {error}") from error
        if is_computed and not are_finite(sample["image"]):
            raise DataError(f"{sample_name(self.samples, index)} holds NaN or infinity after its transforms")
        return sample


def normalized(images: Tensor, mean: Sequence[float] | Tensor, std: Sequence[float] | Tensor) -> Tensor:
    """Raw images as a network expects them: float32 in [0, 1], and then `(image - mean) / std`.

    Args:
        images: (C, H, W) or (N, C, H, W), bool, uint8, uint16 with its whole range, or floating
            point in [0, 1].
        mean: The mean of each channel, in [0, 1].
        std: The standard deviation of each channel, in [0, 1].

    Raises:
        ValueError: If the images have another number of channels, or are other integers.

    Example:
        >>> normalized(torch.full((3, 1, 1), 255, dtype=torch.uint8), (0.5,) * 3, (0.25,) * 3).flatten()
        tensor([2., 2., 2.])
    """
    if images.shape[-3] != len(mean):  # a mean of one number would fit any image
        raise ValueError(f"it has {images.shape[-3]} channels, and `mean` and `std` are those of {len(mean)}")
    if not images.is_floating_point() and images.dtype not in _SCALED_TYPES:
        raise ValueError(
            f"it holds {images.dtype}, of which the largest number is white; expected uint8, uint16, or floating point "
            "numbers in [0, 1]"
        )
    # The kernels of v2.ToDtype and v2.Normalize: for a small image, to find them takes longer than to run them.
    scaled = v2.functional.to_dtype_image(images.as_subclass(Tensor), torch.float32, scale=True)
    found: Tensor = v2.functional.normalize_image(scaled, mean, std)
    return found


def _visible_boxes(boxes: tv_tensors.BoundingBoxes) -> tv_tensors.BoundingBoxes:
    if _are_inside(boxes):
        return boxes  # the usual case of small images, for which the functions below would take longer than the rest
    # v2.SanitizeBoundingBoxes would take the mask for one mask per box, and index its rows.
    clamped = v2.functional.clamp_bounding_boxes(boxes)
    visible, _ = v2.functional.sanitize_bounding_boxes(clamped, min_size=1.0, min_area=1.0)
    return cast(tv_tensors.BoundingBoxes, visible)


def _are_inside(boxes: tv_tensors.BoundingBoxes) -> bool:
    if boxes.format != tv_tensors.BoundingBoxFormat.XYXY:
        return False
    height, width = boxes.canvas_size
    # For a few boxes, arithmetic on Python's numbers is several times as fast as on tensors.
    return all(
        left >= 0 and top >= 0 and right <= width and bottom <= height and right - left >= 1 and bottom - top >= 1
        for left, top, right, bottom in boxes.as_subclass(Tensor).tolist()
    )
