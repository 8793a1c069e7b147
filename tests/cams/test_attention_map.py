"""The attention map is what the forward pass multiplied the features by."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from camtrain.cams import AttentionMap
from camtrain.networks import LFICAM, AttentionBranch, AttentionOutput, CIFARResNet

KINDS = pytest.mark.parametrize("kind", [AttentionBranch, LFICAM])


def made(kind):
    torch.manual_seed(0)
    return kind(CIFARResNet(depth=8, num_classes=3, width=4), 3, image_size=16, width=4, blocks=1).double().eval()


@pytest.fixture
def images():
    return torch.randn(3, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@KINDS
def test_it_is_what_the_features_were_multiplied_by(kind, images):
    """Read off from the features before the product and those after it."""
    network = made(kind)
    seen = []
    attended = network.backbone.get_submodule(network.layer)
    following = network.backbone.layer3 if kind is AttentionBranch else network.backbone.avgpool
    handles = [
        attended.register_forward_hook(lambda _module, _inputs, output: seen.append(output)),
        following.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0])),
    ]
    network(images)
    for handle in handles:
        handle.remove()
    before, after = (features.sum(dim=1) for features in seen)
    maps = AttentionMap(network)(images)
    assert float(maps.std()) > 0.01
    assert not maps.requires_grad
    torch.testing.assert_close(maps * before, after - before)
    # Wherever the head is.
    assert torch.equal(AttentionMap(nn.Sequential(nn.Identity(), network))(images), maps)


@KINDS
def test_a_penalty_on_the_map_trains_head_and_stem_and_nothing_behind(kind, images):
    network = made(kind)
    maps = AttentionMap(network, differentiable=True)(images)
    assert torch.equal(maps.detach(), AttentionMap(network)(images))
    wanted = {
        "stem": network.backbone.conv1.weight,
        "head": network.attention_head.blocks[0].conv1.weight,
        "classes": network.backbone.fc.weight,
    }
    options = {"allow_unused": True, "materialize_grads": True}
    gradients = torch.autograd.grad(maps.square().sum(), list(wanted.values()), **options)
    assert [bool(gradient.any()) for gradient in gradients] == [True, True, False]
    weight = wanted["head"]
    direction = torch.randn(weight.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    values = []
    for step in (1e-6, -1e-6):
        with torch.no_grad():
            weight.add_(direction, alpha=step)
            values.append(float(AttentionMap(network)(images).square().sum()))
            weight.sub_(direction, alpha=step)
    assert float((gradients[1] * direction).sum()) == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5)


def test_a_network_without_one_head_that_runs_once(images):
    plain = CIFARResNet(depth=8, num_classes=3).double()
    with pytest.raises(ValueError, match=r"`network`: CIFARResNet has no attention head.* AttentionBranch|GradCAM"):
        AttentionMap(plain)(images)
    network = made(LFICAM)
    two = nn.ModuleList([network, made(LFICAM)])
    two.forward = network.forward
    with pytest.raises(ValueError, match=r"`network`: expected one attention head, got '0.attention_head', '1.att"):
        AttentionMap(two)(images)
    idle = nn.ModuleList([network])
    idle.forward = network.backbone.forward
    with pytest.raises(ValueError, match=r"`network`: expected an attention head that runs once.*ran 0 times"):
        AttentionMap(idle)(images)


def test_a_call_leaves_no_hook_also_after_an_error(images):
    network = made(AttentionBranch)
    with pytest.raises(ValueError, match=r"`class_idx`: expected classes from 0 to 2, got 3"):
        AttentionMap(network)(images, 3)
    assert not network.attention_head._forward_hooks
    network.backbone.fc = nn.Linear(5, 3)
    with pytest.raises(RuntimeError):
        AttentionMap(network)(images)
    assert not network.attention_head._forward_hooks


def test_a_pass_without_a_graph_cuts_no_later_one_under_autocast():
    network, images = made(AttentionBranch).float(), torch.rand(2, 3, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        AttentionMap(network)(images)
        logits = network(images)
    (gradient,) = torch.autograd.grad(logits.float().square().sum(), network.attention_head.sum.weight)
    assert gradient.any()
    assert isinstance(network.attention_head(torch.rand(1, 8, 4, 4), images), AttentionOutput)
