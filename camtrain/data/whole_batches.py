"""Batches that are made as a whole, from images in memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import torch
from torch.utils.data import Dataset
from torchvision.transforms import v2

from camtrain.batch import Batch, Sample, collate
from camtrain.data.batch_transforms import drawn_moves, moved_batch
from camtrain.data.decoded_samples import DecodedSamples
from camtrain.data.transformed_samples import Samples, normalized
from camtrain.messages import DataError, sample_name


class WholeBatches(Dataset[Sample]):
    """Transformed samples of which a loader gets whole batches, made of images in memory at once.

    Images of one size whose random transforms are crops and flips (`drawn_moves`) are cropped, flipped and normalized
    by the batch, each image with draws of its own. Otherwise each image of the batch goes through the transforms by
    itself. Both ways have the same distribution.

    Args:
        samples: The samples after all transforms, one by one: what is read by an index.
        decoded: The same samples in memory, before `transform`.
        transform: The transforms of a decoded sample; may be empty.
        mean: The mean of each channel, in [0, 1].
        std: The standard deviation of each channel, in [0, 1].
        annotated: The indices of the samples that keep their boxes and masks; `None` if all do.
        device: Where batches are made; `None` is the CPU.

    Example:
        >>> from torchvision import tv_tensors
        >>> raw = [{"image": tv_tensors.Image(torch.full((3, 4, 4), 51.0 * label)), "label": label} for label in (0, 1)]
        >>> decoded = DecodedSamples(raw)
        >>> batches = WholeBatches(decoded, decoded, [v2.RandomCrop(2)], (0.0,) * 3, (1.0,) * 3)
        >>> batches.__getitems__([1, 0]).labels
        tensor([1, 0])
    """

    def __init__(
        self,
        samples: Samples,
        decoded: DecodedSamples,
        transform: Sequence[v2.Transform],
        mean: Sequence[float],
        std: Sequence[float],
        annotated: Collection[int] | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.samples = samples
        self.decoded = decoded
        self.transform = list(transform)
        self.mean, self.std = list(mean), list(std)
        self.annotated = None if annotated is None else frozenset(annotated)
        self.device = torch.device("cpu") if device is None else device
        self._normalization = [torch.tensor(each, device=device).view(-1, 1, 1) for each in (self.mean, self.std)]

    def on(self, device: torch.device) -> WholeBatches:
        """The same samples, with batches that are made on a device.

        Args:
            device: The device.
        """
        return WholeBatches(self.samples, self.decoded, self.transform, self.mean, self.std, self.annotated, device)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """A batch of samples, for `torch.utils.data.DataLoader`."""
        whole = self.decoded.whole
        size = (0, 0) if whole is None else (int(whole.images.shape[2]), int(whole.images.shape[3]))
        if whole is None or drawn_moves(self.transform, 0, size) is None:
            return collate([self.samples[index] for index in indices])
        raw = self._hidden(whole.subset(indices), indices)
        moves = drawn_moves(self.transform, len(raw), size)
        assert moves is not None  # as above
        moved = moved_batch(raw, moves, self.device)
        try:
            return replace(moved, images=normalized(moved.images, *self._normalization))
        except ValueError as error:
            raise DataError(f"{sample_name(self.samples, indices[0])} cannot be normalized: {error}") from error

    def _hidden(self, batch: Batch, indices: Sequence[int]) -> Batch:
        """The batch without the annotation that is not used."""
        if self.annotated is None:
            return batch
        shown = [index in self.annotated for index in indices]
        pixels = torch.tensor(shown)[:, None, None]
        boxes = batch.boxes and [each if one else each[:0] for each, one in zip(batch.boxes, shown, strict=True)]
        return replace(
            batch,
            boxes=boxes,
            masks=None if batch.masks is None else batch.masks & pixels,
            ignored=None if batch.ignored is None else batch.ignored & pixels,
        )
