from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision import models

from camtrain.networks import backbone, last_linear


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "vgg11", "vit_b_16", "convnext_tiny", "swin_t"])
def test_it_has_every_parameter_but_those_of_the_head(name):
    with torch.device("meta"):
        network = models.get_model(name, weights=None)
    found = {id(parameter) for parameter in backbone(network).parameters()}
    head = last_linear(network)
    expected = {id(value) for key, value in network.named_parameters() if not key.startswith(f"{head}.")}
    assert found == expected


def test_a_network_without_a_linear_layer_has_no_head():
    with pytest.raises(ValueError, match="`network`: expected one with a linear layer, its head; Sequential has none"):
        backbone(nn.Sequential(nn.Conv2d(3, 4, 3)))
