from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from camtrain import Objective
from camtrain.networks import CIFARResNet
from camtrain.regularizers import MapSparsity
from camtrain.regularizers.found_layers import FoundLayers


def test_each_size_of_images_has_its_own_layer():
    network, layers, passes = CIFARResNet(8), FoundLayers(), []
    network.register_forward_hook(lambda *_: passes.append(1))
    assert layers(network, torch.zeros(1, 3, 16, 16)) == "layer3"
    assert layers(network, torch.zeros(1, 3, 4, 4)) == "layer2"  # the last layer has one pixel
    before = len(passes)
    assert layers(network, torch.ones(2, 3, 16, 16)) == "layer3"
    assert len(passes) == before
    assert copy.deepcopy(layers)(network, torch.zeros(1, 3, 16, 16)) == "layer3"
    assert len(passes) > before
    assert network.training


@pytest.mark.parametrize("tracks", [True, False])
def test_a_training_on_small_images_with_batch_norm_over_one_pixel(tracks):
    """The search runs a single image, whose one pixel has no statistics of its own; two if no layer has others."""
    torch.manual_seed(0)
    network = CIFARResNet(8, num_classes=3)
    network.layer3.append(nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.BatchNorm2d(64, track_running_stats=tracks)))
    images, labels = torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 0])
    losses = [
        Objective(MapSparsity(target_layer=layer), 1.0)(network, images, labels).loss for layer in (None, "layer3.0")
    ]
    assert torch.equal(*losses)
