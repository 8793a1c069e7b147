"""A small network some of whose channels are flat, all the time or on some images."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FlatChannels(nn.Module):
    """In float64 and evaluation mode. Of the six channels of `target`, 1 is zero, and 4 is 0.75 everywhere."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2))
        self.target = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True))
        self.behind = nn.Sequential(nn.Conv2d(6, 5, 3), nn.BatchNorm2d(5), nn.ReLU(inplace=True))
        self.fc = nn.Linear(5, 4)
        with torch.no_grad():
            self.target[1].weight.copy_(torch.tensor([3.0, 0.0, 2.0, 4.0, 0.0, 8.0]))
            self.target[1].bias.copy_(torch.tensor([0.5, -1.0, 0.3, 0.2, 0.75, -0.5]))
            self.fc.weight.mul_(8)
        self.double().eval()

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.behind(self.target(self.stem(images))).mean(dim=(-2, -1)))


def images_and_needed() -> tuple[Tensor, list[int]]:
    """Three images, the second of them black, and how many channels of each are not flat."""
    images = torch.rand(3, 3, 12, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    images[1] = 0
    with torch.no_grad():
        network = FlatChannels()
        activations = network.target(network.stem(images)).flatten(2)
    needed = (activations.amax(dim=2) > activations.amin(dim=2)).sum(dim=1).tolist()
    assert len(set(needed)) > 1
    assert max(needed) <= 4
    return images, needed
