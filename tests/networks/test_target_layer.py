"""Which layer is found, by its name or by its place. Large networks are on the meta device: shapes without time."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn

from camtrain.networks import CIFARResNet, build_network, last_spatial_layer, target_layer_of


@pytest.mark.parametrize(
    ("name", "side", "expected"),
    [
        ("resnet18", 64, "layer4"),
        ("resnet18", 32, "layer3"),  # layer4 puts out one pixel
        ("resnet50", 224, "layer4"),
        ("vgg11", 64, "features"),  # and not the average pooling, which enlarges to 7×7
        ("vgg11", 32, "features.19"),  # the ReLU before the last max pooling, which leaves one pixel
        ("mobilenet_v2", 64, "features"),
        ("densenet121", 64, "features"),
        ("efficientnet_b0", 64, "features"),
        ("convnext_tiny", 64, "features"),
        ("googlenet", 64, "inception5b"),
        ("shufflenet_v2_x0_5", 64, "conv5"),
        ("maxvit_t", 224, "blocks.3"),
        ("swin_t", 64, "permute"),  # back from (N, h, w, C) to (N, C, h, w)
        ("squeezenet1_1", 64, "classifier.2"),  # one channel per class
        ("cifar_resnet8", 32, "layer3"),
        ("cifar_resnet8", 5, "layer3"),
        ("cifar_resnet8", 4, "layer2"),
    ],
)
def test_last_spatial_layer(name, side, expected):
    with torch.device("meta"):
        network = build_network(name, 7).eval()
        # Two images, of which one is run.
        assert last_spatial_layer(network, torch.zeros(2, 3, side, side)) == expected


def test_small_stem():
    with torch.device("meta"):
        network = build_network("resnet18", 7, stem="small").eval()
        assert last_spatial_layer(network, torch.zeros(1, 3, 32, 32)) == "layer4"


class Wrapper(nn.Module):
    """A user's network: a backbone inside, pooled by a function, and a head of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = CIFARResNet(8)
        self.backbone.avgpool = nn.Identity()
        self.backbone.fc = nn.Identity()
        self.head = nn.Sequential(nn.Dropout(), nn.LazyLinear(3))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.backbone(images))


def test_backbone_inside_a_wrapper():
    network = Wrapper().eval()
    # The Identity in the place of the pooling puts out what `layer3` does.
    assert last_spatial_layer(network, torch.zeros(1, 3, 16, 16)) == "backbone.avgpool"
    network.backbone.avgpool = nn.AdaptiveAvgPool2d(1)
    network.head[1] = nn.LazyLinear(3)
    assert last_spatial_layer(network, torch.zeros(1, 3, 16, 16)) == "backbone.layer3"


def test_rectangular_images_of_one_row():
    assert last_spatial_layer(CIFARResNet(8).eval(), torch.zeros(1, 3, 1, 9)) == "layer3"


def test_images_of_one_pixel():
    with pytest.raises(ValueError, match=r"`target_layer`: no layer of CIFARResNet .*images of 1×1; name the layer"):
        last_spatial_layer(CIFARResNet(8).eval(), torch.zeros(1, 3, 1, 1))


def test_network_without_pixels():
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16, 4))
    with pytest.raises(ValueError, match="`target_layer`: no layer of Sequential"):
        last_spatial_layer(network, torch.zeros(1, 3, 4, 4))


def test_transformer():
    with torch.device("meta"):
        network = build_network("vit_b_16", 7).eval()
        with pytest.raises(
            ValueError, match=r"`target_layer`: after .* 'conv_proj', VisionTransformer works on tokens"
        ):
            last_spatial_layer(network, torch.zeros(1, 3, 224, 224))


def test_modules_that_run_twice_are_passed_over():
    relu = nn.ReLU()
    network = nn.Sequential(nn.Conv2d(3, 4, 1), relu, nn.Conv2d(4, 5, 1), relu, nn.Flatten(), nn.Linear(80, 2))
    assert last_spatial_layer(network, torch.zeros(1, 3, 4, 4)) == "2"


@pytest.mark.parametrize("fails", [False, True])
def test_hooks_are_removed(fails):
    network = CIFARResNet(8).eval()
    if fails:
        network.fc = nn.Linear(1, 1)  # the pass ends with an error of torch's
    with pytest.raises(RuntimeError, match="shapes") if fails else nullcontext():
        last_spatial_layer(network, torch.zeros(1, 3, 8, 8))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_target_layer_of():
    network = CIFARResNet(8)
    assert target_layer_of(network, "layer3") is network.layer3
    assert target_layer_of(network, "layer2.0.conv1") is network.layer2[0].conv1


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("layer4", "did you mean 'layer3', 'layer2', 'layer1'"),
        ("layer3.0.conv", "did you mean .*'layer3.0.conv"),
        ("", "there are 'conv1'"),
        ("???", "there are 'conv1', 'bn1', 'relu', 'layer1', .* more"),
    ],
)
def test_unknown_name(name, nearest):
    with pytest.raises(ValueError, match="`target_layer`: no module is called .*; " + nearest):
        target_layer_of(CIFARResNet(8), name)
