"""Small images with a bright square, and small networks for them.

Tests of commands copy this file to their folder as `my_data.py`, the code of a user.
"""

from __future__ import annotations

import torch
from pytorch_lightning import LightningDataModule
from torch import nn
from torch.utils.data import DataLoader
from torchvision import tv_tensors

from camtrain.batch import collate
from camtrain.data import ImageDataModule
from camtrain.networks import CIFARResNet


class Squares(ImageDataModule):
    """A bright square on noise; every third image has no box."""

    class_names = ("red", "green", "blue")

    def __init__(
        self,
        length: int = 10,
        image_size: int = 16,
        boxed: bool = True,
        batch_size: int = 4,
        mean: tuple[float, float, float] | None = None,
        std: tuple[float, float, float] | None = None,
    ):
        super().__init__(batch_size=batch_size, mean=mean or (0.5, 0.5, 0.5), std=std or (0.25, 0.25, 0.25))
        self.length, self.image_size, self.boxed = length, image_size, boxed

    def samples(self, split):
        return [self._sample(index, split) for index in range(self.length)]

    def _sample(self, index, split):
        generator = torch.Generator().manual_seed(index + 1000 * (split == "val"))
        size = self.image_size
        image = torch.randint(0, 80, (3, size, size), generator=generator, dtype=torch.uint8)
        x, y = torch.randint(0, size - 6, (2,), generator=generator).tolist()
        image[index % 3, y : y + 6, x : x + 6] = 255
        sample = {"image": tv_tensors.Image(image), "label": index % 3}
        if self.boxed and index % 3:
            box = torch.tensor([[x, y, x + 6, y + 6]], dtype=torch.float32)
            sample["boxes"] = tv_tensors.BoundingBoxes(box, format="XYXY", canvas_size=(size, size))
        return sample


class Fixed(Squares):
    """Its normalization cannot be set."""

    def __init__(self, length: int = 10):
        super().__init__(length)


class Mislabeled(Squares):
    def _sample(self, index, split):
        return super()._sample(index, split) | ({"label": 7} if index == 5 else {})


class Bare(LightningDataModule):
    """What it does to images nobody knows."""

    def __init__(self, length: int = 10):
        super().__init__()
        self.squares = Squares(length)

    def test_dataloader(self):
        return DataLoader(self.squares.data_set("test"), batch_size=4, collate_fn=collate)


def tiny():
    torch.manual_seed(3)
    return CIFARResNet(depth=8, num_classes=3, width=4)


def wide():
    torch.manual_seed(4)
    return CIFARResNet(depth=8, num_classes=5, width=4)


def smooth():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
