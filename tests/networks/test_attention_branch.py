"""The attention branch by hand, and its gradient in float64."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from camtrain.networks import AttentionBranch, AttentionBranchHead, CIFARResNet


def test_values_by_hand():
    """Two classes of a single channel: the class maps are 2x and -x before the ReLU, their sum with 3 and 1."""
    head = AttentionBranchHead(channels=1, num_classes=2, width=1, blocks=1).eval()
    head.blocks, head.blocks_norm = nn.Identity(), nn.Identity()
    head.class_maps_norm, head.sum_norm = nn.Identity(), nn.Identity()
    with torch.no_grad():
        head.class_maps.weight.copy_(torch.tensor([2.0, -1.0]).view(2, 1, 1, 1))
        head.sum.weight.copy_(torch.tensor([0.5, 1.0]).view(1, 2, 1, 1))
        head.classifier.weight.copy_(torch.tensor([[1.0, 10.0], [0.0, -1.0]]).view(2, 2, 1, 1))
    output = head(torch.tensor([[[[1.0, -3.0], [0.0, 2.0]]]]), torch.zeros(1, 3, 4, 4))
    # Class maps (2, 0, 0, 4) and (0, 3, 0, 0); summed (1, 3, 0, 2).
    expected = [[1 / (1 + math.exp(-1)), 1 / (1 + math.exp(-3))], [0.5, 1 / (1 + math.exp(-2))]]
    torch.testing.assert_close(output.attention, torch.tensor([[expected]]))
    # (2 + 4 + 10 · 3) / 4 and -3 / 4.
    torch.testing.assert_close(output.logits, torch.tensor([[9.0, -0.75]]))


def test_each_layer_is_in_its_place():
    """The same in other words, with all normalizations, on statistics that are not the first."""
    torch.manual_seed(0)
    head = AttentionBranchHead(channels=5, num_classes=3).double()
    features = torch.randn(6, 5, 4, 7, dtype=torch.float64)
    head(2 * features + 1, features)
    head.eval()
    with torch.no_grad():
        for module in head.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 2)
                module.bias.normal_()
    output = head(features, features)

    def normalized(maps, norm):
        maps = (maps - norm.running_mean.view(-1, 1, 1)) / (norm.running_var.view(-1, 1, 1) + 1e-5).sqrt()
        return maps * norm.weight.view(-1, 1, 1) + norm.bias.view(-1, 1, 1)

    def mixed(maps, convolution):
        assert convolution.bias is None
        return torch.einsum("ok,nkij->noij", convolution.weight[..., 0, 0], maps)

    maps = normalized(mixed(normalized(head.blocks(features), head.blocks_norm), head.class_maps), head.class_maps_norm)
    maps = maps.clamp(min=0)
    torch.testing.assert_close(output.attention, 1 / (1 + (-normalized(mixed(maps, head.sum), head.sum_norm)).exp()))
    torch.testing.assert_close(output.logits, mixed(maps, head.classifier).mean(dim=(2, 3)))
    assert head.blocks_norm.num_features == 10
    assert [block.conv1.stride for block in head.blocks] == [(1, 1), (1, 1)]
    assert AttentionBranchHead(channels=300, num_classes=3).blocks_norm.num_features == 512


def test_gradient():
    torch.manual_seed(0)
    head = AttentionBranchHead(channels=2, num_classes=3, width=3, blocks=1).double().eval()
    features = torch.randn(2, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    images = torch.rand(2, 3, 6, 8, dtype=torch.float64)
    parameters = [head.class_maps.weight, head.sum.weight, head.classifier.weight]

    def of_all(features, *_):
        return tuple(head(features, images))

    assert torch.autograd.gradcheck(of_all, (features, *parameters))
    assert torch.autograd.gradgradcheck(of_all, (features, *parameters))


def test_attention_forced_to_zero_is_the_plain_backbone():
    torch.manual_seed(0)
    network = AttentionBranch(CIFARResNet(depth=8, num_classes=3, width=4), 3, image_size=16).eval()
    images = torch.randn(4, 3, 16, 16)
    assert not torch.equal(network(images), network.backbone(images))
    with torch.no_grad():
        network.attention_head.sum_norm.weight.zero_()
        network.attention_head.sum_norm.bias.fill_(-1e4)  # a sigmoid of exactly zero
    assert torch.equal(network(images), network.backbone(images))


def test_a_loss_on_the_branch_trains_branch_and_stem():
    torch.manual_seed(0)
    network = AttentionBranch("cifar_resnet8", 3)
    logits = []
    network.attention_head.register_forward_hook(lambda _module, _inputs, output: logits.append(output.logits))
    network(torch.randn(4, 3, 32, 32))
    F.cross_entropy(logits[0], torch.arange(4) % 3).backward()
    head, backbone = network.attention_head, network.backbone
    for parameter in (
        head.classifier.weight,
        head.class_maps.weight,
        head.blocks[0].conv1.weight,
        backbone.conv1.weight,
    ):
        assert float(parameter.grad.norm()) > 0
    assert head.sum.weight.grad is None
    assert backbone.fc.weight.grad is None


@pytest.mark.parametrize("name", ["width", "blocks", "num_classes"])
def test_bad_arguments(name):
    with pytest.raises(ValueError, match=f"`{name}`: expected a positive integer, got 0"):
        AttentionBranchHead(**({"channels": 2, "num_classes": 3} | {name: 0}))
