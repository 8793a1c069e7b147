"""Samples that are read and decoded once, and then kept in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from camtrain.batch import Batch, Sample, are_finite, batch_of
from camtrain.data.plant_decoy import PlantDecoy
from camtrain.data.squash import Squash
from camtrain.data.transformed_samples import Samples
from camtrain.messages import DataError, sample_name
from camtrain.messages.progress_bar import ProgressBar

_FIXED = (v2.CenterCrop, v2.Grayscale, v2.Pad, v2.Resize, PlantDecoy, Squash)
_SECONDS_WITHOUT_BAR = 3.0


def fixed_beginning(transforms: Sequence[v2.Transform]) -> int:
    """The number of transforms at the beginning that change an image in the same way each time.

    Only transforms that are known to do so are counted: your own may draw random numbers.

    Example:
        >>> fixed_beginning([v2.Resize(8), v2.CenterCrop(8), v2.RandomCrop(8, padding=1), v2.Pad(1)])
        2
    """
    # A subclass may do something else.
    return next((place for place, each in enumerate(transforms) if type(each) not in _FIXED), len(transforms))


class DecodedSamples(Dataset[Sample]):
    """Raw samples that are read once, when the first batch is made, and kept in memory.

    Until then, a sample that is read by its index is read from its source.

    Args:
        samples: The raw samples. Each has to be the same whenever it is read.
        transform: Transforms that change an image in the same way each time (`fixed_beginning`). They run once.

    Raises:
        DataError: When samples are read, with the file's name where it is known, if a transform fails, or an image
            holds NaN or infinity; it is a `ValueError`.

    Example:
        >>> import torch
        >>> image = tv_tensors.Image(torch.zeros(3, 4, 4, dtype=torch.uint8))
        >>> samples = DecodedSamples([{"image": image, "label": 1}], [v2.CenterCrop(2)])
        >>> samples.whole.images.shape, samples[0]["label"]
        (torch.Size([1, 3, 2, 2]), 1)
    """

    def __init__(self, samples: Samples, transform: Sequence[v2.Transform] = ()) -> None:
        self.samples = samples
        self.transform = nn.Sequential(*transform)
        self._kept: Batch | list[Sample] | None = None

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        match self._kept:
            case None:
                return self._read(index)
            case Batch():
                return _sample_of(self._kept, index)
            case _:
                return cast(Sample, dict(self._kept[index]))

    @property
    def whole(self) -> Batch | None:
        """All samples as one batch of raw images, read when it is first asked for; `None` if their sizes differ."""
        if self._kept is None:
            self._kept = self._all_read()
        return self._kept if isinstance(self._kept, Batch) else None

    def _all_read(self) -> Batch | list[Sample]:
        images: Tensor | None = None
        kept: list[Sample] = []
        is_quiet = True if getattr(rank_zero_only, "rank", 0) else None  # None: unless there is a terminal
        places = range(len(self))
        for index in ProgressBar(
            places, "reading images", unit="image", leave=False, delay=_SECONDS_WITHOUT_BAR, disable=is_quiet
        ):
            sample = self._read(index)
            image = sample["image"].as_subclass(Tensor)
            if index == 0:
                # Memory that is not written to is not taken, so that the images are not twice in memory.
                images = image.new_empty((len(self), *image.shape))
            if images is not None and _fits(sample, images):
                images[index] = image
                sample["image"] = tv_tensors.Image(images[index])
            else:
                images = None
            kept.append(sample)
        return kept if images is None else batch_of(images, kept)

    def _read(self, index: int) -> Sample:
        stored = dict(self.samples[index])
        try:
            sample = cast(Sample, self.transform(stored))
        except (ValueError, RuntimeError) as error:
            raise DataError(f"{sample_name(self.samples, index)} cannot be transformed: {error}") from error
        if sample["image"].is_floating_point() and not are_finite(sample["image"]):
            raise DataError(f"{sample_name(self.samples, index)} holds NaN or infinity")
        return sample


def _fits(sample: Sample, images: Tensor) -> bool:
    """Whether a sample has the type and the size of others; a mask may be larger than its image, and scaled later."""
    masks = [sample.get("mask"), sample.get("ignored")]
    size = images.shape[2:]
    fits = sample["image"].dtype == images.dtype and sample["image"].shape == images.shape[1:]
    return fits and all(mask is None or mask.shape == size for mask in masks)


def _sample_of(batch: Batch, index: int) -> Sample:
    """One sample of a batch of raw images."""
    assert batch.labels is not None  # every sample has a label
    label = batch.labels[index]
    image = batch.images[index]
    sample: Sample = {"image": tv_tensors.Image(image), "label": label if label.dim() else int(label)}
    if batch.boxes is not None:
        size = (int(image.shape[-2]), int(image.shape[-1]))
        boxes = batch.boxes[index].as_subclass(Tensor)
        sample["boxes"] = tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=size)
    if batch.masks is not None:
        sample["mask"] = tv_tensors.Mask(batch.masks[index].as_subclass(Tensor))
    if batch.ignored is not None:
        sample["ignored"] = tv_tensors.Mask(batch.ignored[index].as_subclass(Tensor))
    if batch.groups is not None:
        sample["group"] = int(batch.groups[index])
    return sample
