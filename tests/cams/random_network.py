"""Networks of torchvision with random weights, made quickly."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision import models

PARITY_CASES = [
    ("resnet18", "layer4", 64),
    ("mobilenet_v2", "features", 64),
    *(
        pytest.param(*case, marks=pytest.mark.slow)
        for case in (("resnet18", "layer2", 64), ("vgg11", "features", 64), ("resnet18", "layer4", 224))
    ),
]
"""Network, target layer and side of the images that maps are compared with another implementation on."""


def random_network(name: str) -> nn.Module:
    """In evaluation mode, with 10 classes."""
    torch.manual_seed(0)
    # VGG's classifier has 120 million weights: one initialization instead of two, and no gradients of theirs.
    options = {"vgg11": {"init_weights": False}, "googlenet": {"init_weights": False, "aux_logits": False}}
    network: nn.Module = models.get_model(name, weights=None, num_classes=10, **options.get(name, {}))
    if name.startswith("vgg"):
        network.classifier.requires_grad_(False)
    _settle(network)
    return network.eval()


def _settle(network: nn.Module) -> None:
    """Statistics of BatchNorm as after training: without them what a deep random network puts out vanishes."""
    layers = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for layer in layers:
        layer.momentum = 1.0
    if layers:
        with torch.no_grad():
            network(torch.rand(4, 3, 64, 64))
