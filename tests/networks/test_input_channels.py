from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from camtrain.networks import (
    LFICAM,
    AttentionBranch,
    AttentionDropout,
    CAStream,
    CIFARResNet,
    LoadedNetwork,
    build_network,
    input_channels,
    with_input_channels,
)
from camtrain.networks.input_channels import channels_remark
from camtrain.pixel_format import PixelFormat

ATTENDED = {
    "AttentionBranch": lambda backbone: AttentionBranch(backbone, 4, image_size=16, width=6),
    "LFICAM": lambda backbone: LFICAM(backbone, 4, image_size=16, width=6),
    "CAStream": lambda backbone: CAStream(backbone, 4, image_size=16),
    "AttentionDropout": lambda backbone: AttentionDropout(backbone, 4, image_size=16),
}


@pytest.mark.parametrize("kind", [AttentionBranch, LFICAM, CAStream])
def test_the_classes_of_an_attention_head_are_no_colors(kind):
    """Its convolutions take the scores of three classes."""
    backbone = build_network("cifar_resnet8", 3, in_channels=1)
    assert input_channels(kind(backbone, 3, image_size=16)) == 1


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 13])
@pytest.mark.parametrize(
    ("name", "stem"), [("cifar_resnet8", "imagenet"), ("resnet18", "small"), ("vgg11", "imagenet")]
)
def test_networks_by_name(name, stem, channels):
    with torch.device("meta"):
        network = build_network(name, 2, stem=stem, in_channels=channels)
        assert network(torch.zeros(2, channels, 32, 32)).shape == (2, 2)
    assert input_channels(network) == channels


def test_a_network_of_timm():
    pytest.importorskip("timm")
    network = build_network("timm:test_resnet", 2, in_channels=4)
    assert input_channels(network) == 4
    assert network.eval()(torch.zeros(1, 4, 32, 32)).shape == (1, 2)


def test_three_channels_change_nothing():
    torch.manual_seed(0)
    expected = resnet18().state_dict()
    torch.manual_seed(0)
    found = build_network("resnet18", in_channels=3).state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_new_weights_are_as_large_as_the_former_ones():
    torch.manual_seed(0)
    former = nn.Conv2d(3, 256, 3, stride=2, padding=1)
    std, bias = former.weight.std(), former.bias.detach().clone()
    (changed,) = with_input_channels(nn.Sequential(former), 13)
    assert (changed.weight.shape, changed.stride, changed.padding) == ((256, 13, 3, 3), (2, 2), (1, 1))
    torch.testing.assert_close(changed.weight.std(), std, rtol=0.02, atol=0)
    assert torch.equal(changed.bias, bias)


@pytest.mark.parametrize(
    ("channels", "weights"),
    # Red, green and blue have 1, 2 and 4.
    [(1, [7]), (2, [1.5, 3]), (4, [0.75, 1.5, 3, 0.75]), (6, [0.5, 1, 2, 0.5, 1, 2])],
)
def test_pretrained_weights_are_kept(channels, weights):
    former = nn.Conv2d(3, 1, 1)
    former.weight.data = torch.tensor([1.0, 2, 4]).view(1, 3, 1, 1)
    (changed,) = with_input_channels(nn.Sequential(former), channels, pretrained=True)
    assert changed.weight.flatten().tolist() == weights


def test_pretrained_weights_are_those_of_timm():
    adapt = pytest.importorskip("timm.models").adapt_input_conv
    former = nn.Conv2d(3, 4, 3)
    for channels in (1, 2, 4, 5, 13):
        expected = adapt(channels, former.weight.detach().clone())
        network = nn.Sequential(nn.Conv2d(3, 4, 3))
        network[0].weight.data = former.weight.detach().clone()
        torch.testing.assert_close(with_input_channels(network, channels, pretrained=True)[0].weight.data, expected)


@pytest.mark.parametrize("channels", [0, -1])
def test_wrong_numbers_of_channels(channels):
    for make in (lambda: build_network("resnet18", in_channels=channels), lambda: CIFARResNet(in_channels=channels)):
        with pytest.raises(ValueError, match=f"`in_channels`: expected a positive integer, got {channels}"):
            make()
    with pytest.raises(ValueError, match="`in_channels`: expected 3 for Sequential, which has no convolution of 3"):
        with_input_channels(nn.Sequential(nn.Linear(3, 2)), 4)


@pytest.mark.parametrize("name", ATTENDED)
def test_networks_with_attention(name):
    torch.manual_seed(0)
    network = ATTENDED[name](CIFARResNet(depth=8, num_classes=4, width=4, in_channels=5)).eval()
    assert network(torch.rand(2, 5, 16, 16)).shape == (2, 4)


def test_channels_where_convolutions_do_not_say_them():
    assert input_channels(nn.Sequential(nn.Flatten(), nn.Linear(7, 2))) == 3
    # A convolution that runs later may come first.
    late = nn.ModuleDict({"late": nn.Conv2d(64, 8, 1), "early": nn.Conv2d(3, 64, 3)})
    assert input_channels(late) == 3
    assert channels_remark(late, torch.zeros(1, 3, 8, 8)) == ""
    assert channels_remark(nn.Linear(4, 2), torch.zeros(1, 4, 8, 8)) == ""


def test_a_network_of_four_channels_and_nothing_else():
    loaded = LoadedNetwork.of(CIFARResNet(depth=8, num_classes=3, in_channels=4))
    assert loaded.preprocessing.remarks[0].startswith(
        "nothing says how photographs are prepared for the network: 224 pixels and a mean and std of 0.5 are assumed"
    )
    assert loaded.preprocessing.pixel_format == PixelFormat(4)
    assert loaded.on("cpu").num_classes == 3


def test_what_is_said_of_images_of_other_channels():
    loaded = LoadedNetwork.of(CIFARResNet(depth=8, num_classes=3))
    with pytest.raises(ValueError, match=r"it seems to take images of 3 channels, and these have 4; .*`in_channels`"):
        loaded.probabilities(torch.zeros(1, 4, 16, 16))
