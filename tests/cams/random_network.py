"""Networks of torchvision with random weights, made quickly."""

from __future__ import annotations

import copy
from functools import lru_cache, partial

import pytest
import torch
from torch import nn
from torchvision import models

from tests.lean_vgg import lean_vgg11

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
    """In evaluation mode, with 10 classes, and weights of the default precision."""
    network = copy.deepcopy(_made(name, torch.get_default_dtype()))
    torch.manual_seed(1)  # what a test draws next must not depend on whether the network was there already
    return network


@lru_cache
def _made(name: str, dtype: torch.dtype) -> nn.Module:
    torch.manual_seed(0)
    options = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    make = lean_vgg11 if name == "vgg11" else partial(models.get_model, name, num_classes=10, **options)
    network: nn.Module = make()
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
