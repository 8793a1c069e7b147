"""Random images of the size of CIFAR's, with its augmentation, of as many as a measurement takes."""

from __future__ import annotations

from typing import Any

import torch
from torchvision.transforms import v2

from camtrain.data import CIFAR10, ImageDataModule
from camtrain.data.image_data_module import Split
from camtrain.data.in_memory_samples import InMemorySamples

PADDING = 4
SIZE = 32


class RandomImages(ImageDataModule):
    """Random pixels and labels; a measurement of time needs nothing else.

    Args:
        num_images: The number of training images.
        **kwargs: The arguments of `ImageDataModule`.
    """

    default_mean = CIFAR10.default_mean
    default_std = CIFAR10.default_std

    def __init__(self, num_images: int = 6400, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_images = num_images

    @property
    def class_names(self) -> list[str]:
        """Those of CIFAR-10."""
        return list(CIFAR10.all_class_names)

    def default_train_transform(self) -> list[v2.Transform]:
        """The augmentation of CIFAR's data modules."""
        return [v2.RandomCrop(SIZE, padding=PADDING), v2.RandomHorizontalFlip()]

    def samples(self, split: Split) -> InMemorySamples:
        """Random images; a batch of them for validation and test."""
        count = self.num_images if split == "train" else self.batch_size
        random = torch.Generator().manual_seed(self.seed)
        images = torch.randint(256, (count, 3, SIZE, SIZE), dtype=torch.uint8, generator=random)
        return InMemorySamples(images, torch.randint(self.num_classes, (count,), generator=random))
