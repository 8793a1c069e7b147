"""CIFAR-100 from a folder of images, in memory, augmented by whole batches: small networks wait for data otherwise."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler

from camtrain.batch import Batch
from camtrain.data import CIFAR100, ImageFolderData

_PADDING = 4


class InMemoryCIFAR100(ImageFolderData):
    """`ImageFolderData` of 32×32 images, which crops and flips whole training batches.

    Each image is shifted by up to 4 pixels in both directions, with black borders, and is flipped or not, as with
    `augmentation="crop_flip"`.

    Args:
        root: The folder with `train/<class>/*` and `test/<class>/*`.
        classes: The names of the classes to use; null for all.
        batch_size: The number of images in a batch.
        seed: The seed that chooses the held-out validation images.
        mean: The mean to subtract, per RGB channel; null for CIFAR-100's.
        std: The standard deviation to divide by, per RGB channel; null for CIFAR-100's.
    """

    def __init__(
        self,
        root: str = "data/cifar100",
        classes: list[str] | None = None,
        batch_size: int = 128,
        seed: int = 0,
        mean: tuple[float, float, float] | None = None,
        std: tuple[float, float, float] | None = None,
    ) -> None:
        normalization: dict[str, Any] = {"mean": mean or CIFAR100.default_mean, "std": std or CIFAR100.default_std}
        super().__init__(root, image_size=32, classes=classes, batch_size=batch_size, seed=seed, **normalization)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Load full batches of training images, shuffled."""
        source = self.samples("train")
        samples = [source[index] for index in range(len(source))]
        images = torch.stack([sample["image"].as_subclass(Tensor) for sample in samples])
        labels = torch.tensor([sample["label"] for sample in samples])
        batches = _WholeBatches(images, labels, self.mean, self.std)
        sampler = BatchSampler(RandomSampler(batches), self.batch_size, drop_last=True)
        return DataLoader(batches, sampler=sampler, batch_size=None)


class _WholeBatches(Dataset[Batch]):
    def __init__(self, images: Tensor, labels: Tensor, mean: object, std: object) -> None:
        self.images = torch.nn.functional.pad(images, [_PADDING] * 4)
        self.labels = labels
        self.mean, self.std = (torch.tensor(each).view(3, 1, 1) for each in (mean, std))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, indices: list[int]) -> Batch:
        chosen = self.images[indices]
        count, size = len(chosen), 32
        rows, columns = (torch.randint(2 * _PADDING + 1, (count, 1)) + torch.arange(size) for _ in range(2))
        flipped = torch.rand(count, 1) < 0.5
        columns = torch.where(flipped, columns.flip(1), columns)
        cropped = chosen[torch.arange(count)[:, None, None], :, rows[:, :, None], columns[:, None, :]]
        images = (cropped.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std
        return Batch(images, self.labels[indices])
