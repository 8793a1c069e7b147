"""Networks of torchvision whose activations are neither dead nor proportional to the image, without any training."""

from __future__ import annotations

import torch
from torch import nn
from torchvision import models

from tests.lean_vgg import lean_vgg11


def untrained_network(name: str) -> nn.Module:
    """In evaluation mode, with 10 classes, as torchvision makes it; VGG with a small classifier."""
    torch.manual_seed(0)
    network: nn.Module = lean_vgg11() if name == "vgg11" else models.get_model(name, weights=None, num_classes=10)
    return network.eval()


def lifelike_network(name: str) -> nn.Module:
    """In evaluation mode, with 10 classes, biases that are not zero and running statistics of some images.

    As torchvision makes it, a network with BatchNorm has statistics that its activations do not have, so that they
    shrink from layer to layer, and no biases, so that its logits grow in proportion to the image. With the statistics
    alone it is chaotic, unlike a trained one: rounding errors grow from layer to layer. Biases that are as large as
    what they are added to calm it.
    """
    network = untrained_network(name)
    generator = torch.Generator().manual_seed(1)
    layers = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    with torch.no_grad():
        for layer in layers:
            layer.weight.fill_(0.5)
            layer.bias.normal_(0.5, 0.5, generator=generator)
            layer.train()
            layer.momentum = 1.0
        network(torch.randn(8 if layers else 0, 3, 64, 64, generator=generator))
    return network.eval()
