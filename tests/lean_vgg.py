"""VGG-11 without the 120 million weights of its classifier."""

from __future__ import annotations

import torch
from torch import nn
from torchvision import models


def lean_vgg11() -> nn.Module:
    """VGG-11 of torchvision with 10 classes, random weights and a small classifier.

    The classifier has one hidden layer of 32 units instead of two of 4096, so that it is made in a fraction of the
    time. The layers that maps are made at are the published ones.
    """
    with torch.device("meta"):
        network = models.vgg11(weights=None, init_weights=False, num_classes=10)
    network.features.to_empty(device="cpu")
    for layer in network.features:
        if isinstance(layer, nn.Conv2d):
            layer.reset_parameters()
    network.classifier = nn.Sequential(nn.Linear(512 * 7 * 7, 32), nn.ReLU(), nn.Linear(32, 10))
    return network
