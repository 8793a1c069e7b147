"""`with_small_image_stem` against the well-known CIFAR variants."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision import models

from camtrain.networks import with_small_image_stem

# kuangliu/pytorch-cifar's MobileNet-V2 has 2,296,922 parameters for 10 classes. Two things of it are not in the paper
# and not in torchvision: an expansion of the first block by 1, and shortcuts where a block of stride 1 changes the
# number of channels.
_EXPANSION_BY_ONE = 32 * 32 + 2 * 32
_EXTRA_SHORTCUTS = sum(a * b + 2 * b for a, b in [(32, 16), (16, 24), (64, 96), (160, 320)])


@pytest.mark.parametrize(
    ("name", "classes", "parameters"),
    [
        ("resnet18", 10, 11_173_962),
        ("resnet18", 100, 11_220_132),
        ("resnet50", 10, 23_520_842),
        # torchvision's DenseNet has one more BatchNorm, of 64 channels, behind the first convolution.
        ("densenet121", 10, 6_956_298 + 2 * 64),
        ("mobilenet_v2", 10, 2_296_922 - _EXPANSION_BY_ONE - _EXTRA_SHORTCUTS),
    ],
)
def test_number_of_parameters(name, classes, parameters):
    with torch.device("meta"):
        network = with_small_image_stem(models.get_model(name, weights=None, num_classes=classes))
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


@pytest.mark.parametrize(
    ("name", "layers", "strides"),
    [
        ("resnet18", ["conv1", "maxpool", "layer1", "layer2", "layer3", "layer4"], [1, 1, 1, 2, 4, 8]),
        ("resnext50_32x4d", ["conv1", "maxpool", "layer1", "layer2", "layer3", "layer4"], [1, 1, 1, 2, 4, 8]),
        (
            "densenet121",
            ["features.pool0", "features.denseblock1", "features.denseblock2", "features.denseblock3", "features"],
            [1, 1, 2, 4, 8],
        ),
        (
            "mobilenet_v2",
            [f"features.{index}" for index in (0, 1, 3, 6, 10, 13, 16, 17, 18)],
            [1, 1, 1, 2, 4, 4, 8, 8, 8],
        ),
    ],
)
@pytest.mark.parametrize("side", [32, 64])
def test_resolution(name, layers, strides, side):
    with torch.device("meta"):
        network = with_small_image_stem(models.get_model(name, weights=None, num_classes=10))
        sizes = {}
        for layer in layers:
            network.get_submodule(layer).register_forward_hook(
                lambda _module, _inputs, output, layer=layer: sizes.update({layer: tuple(output.shape[-2:])})
            )
        assert network(torch.zeros(2, 3, side, side)).shape == (2, 10)
    assert sizes == {layer: (side // stride, side // stride) for layer, stride in zip(layers, strides, strict=True)}


def test_resnet_is_the_stages_behind_one_convolution():
    torch.manual_seed(0)
    network = models.resnet18(num_classes=10)
    same = with_small_image_stem(network)
    assert same is network
    network.eval()
    images = torch.rand(2, 3, 32, 32)
    assert network.conv1.weight.shape == (64, 3, 3, 3)
    features = F.relu(network.bn1(F.conv2d(images, network.conv1.weight, padding=1)))
    stages = nn.Sequential(network.layer1, network.layer2, network.layer3, network.layer4)
    torch.testing.assert_close(network(images), network.fc(stages(features).mean(dim=(-2, -1))))


def test_new_convolution_is_initialized_as_the_others():
    torch.manual_seed(0)
    weight = with_small_image_stem(models.resnet18()).conv1.weight
    # Kaiming, fan out: variance 2 / (64 · 3 · 3)
    assert float(weight.detach().std()) == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.05)


@pytest.mark.parametrize("network", [models.squeezenet1_1, lambda: nn.Sequential(nn.Conv2d(3, 4, 1))])
def test_other_networks(network):
    with torch.device("meta"):
        network = network()
    with pytest.raises(ValueError, match=rf"`stem`: .*ResNet, DenseNet and MobileNetV2, got {type(network).__name__}"):
        with_small_image_stem(network)
