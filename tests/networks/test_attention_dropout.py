"""Attention-based dropout: the features by hand, and a network with it."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from camtrain.cams import GradCAM
from camtrain.networks import AttentionDropout, CIFARResNet
from camtrain.networks.attention_dropout import dropped_features


def test_features_by_hand():
    features = torch.tensor([[[[1.0, 4.0], [0.0, 3.0]], [[3.0, 4.0], [0.0, 5.0]]]])  # means 2, 4; 0, 4
    dropped = dropped_features(features, torch.tensor(True), 0.9)
    assert dropped.tolist() == [[[[1.0, 0.0], [0.0, 0.0]], [[3.0, 0.0], [0.0, 0.0]]]]
    kept = dropped_features(features, torch.tensor(False), 0.9)
    attention = torch.tensor([[2.0, 4.0], [0.0, 4.0]]).sigmoid()
    torch.testing.assert_close(kept, features * attention)
    # With γ = 1, the maximum itself is dropped.
    assert dropped_features(features, torch.tensor(True), 1.0)[0, 0].tolist() == [[1.0, 0.0], [0.0, 0.0]]
    # Each image has its own maximum.
    two = torch.cat([features, 10 * features])
    assert torch.equal(dropped_features(two, torch.tensor(True), 0.9)[1:], 10 * dropped)


@pytest.fixture
def backbone():
    torch.manual_seed(0)
    return CIFARResNet(depth=8, num_classes=4, width=4)


def test_it_is_the_backbone_in_evaluation(backbone):
    network = AttentionDropout(backbone, 4, image_size=32).eval()
    images = torch.rand(3, 3, 32, 32)
    assert network.layers == ["layer2", "layer3"]
    assert torch.equal(network(images), backbone(images))
    assert {name.removeprefix("backbone.") for name in network.state_dict()} == set(backbone.state_dict())
    cam = GradCAM(network, target_layer="backbone.layer3")(images)
    torch.testing.assert_close(cam, GradCAM(backbone, target_layer="layer3")(images))


@pytest.mark.parametrize("drop_rate", [0.0, 1.0])
def test_features_are_changed_in_training(backbone, drop_rate):
    network = AttentionDropout(copy.deepcopy(backbone), 4, ["layer2"], drop_rate, 0.5, image_size=32)
    network.backbone.eval()  # for BatchNorm; the dropout is the wrapper's own
    backbone.eval()
    assert network.training
    images = torch.rand(3, 3, 32, 32)
    features = backbone.layer2(backbone.layer1(backbone.bn1(backbone.conv1(images)).relu()))
    seen = []
    backbone.layer2.register_forward_hook(
        lambda _module, _inputs, output: (
            seen.append(output) or dropped_features(output, torch.tensor(drop_rate == 1), 0.5)
        )
    )
    expected = backbone(images)
    torch.testing.assert_close(seen[0], features)
    torch.testing.assert_close(network(images), expected)
    assert all(not module._forward_hooks for module in network.modules())


def test_both_ways_occur_and_gradients_are_finite(backbone):
    torch.manual_seed(0)
    network = AttentionDropout(backbone, 4, ["layer3"], drop_rate=0.5, image_size=32)
    network.backbone.eval()
    images = torch.rand(2, 3, 32, 32)
    answers = {tuple(network(images).flatten().tolist()) for _ in range(30)}
    assert len(answers) == 2
    network(images).sum().backward()
    assert all(each.grad is not None and bool(each.grad.isfinite().all()) for each in network.parameters())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": ["layer9"]}, "`layers`: no module is called 'layer9'; did you mean"),
        ({"layers": []}, "`layers`: expected a list of names, or None"),
        ({"layers": "layer3"}, "`layers`: expected a list of names, or None, got 'layer3'"),
        ({"drop_rate": 1.1}, "`drop_rate`: expected a fraction"),
        ({"drop_threshold": -0.1}, "`drop_threshold`: expected a fraction"),
    ],
)
def test_bad_settings(backbone, settings, message):
    with pytest.raises(ValueError, match=message):
        AttentionDropout(backbone, 4, **settings, image_size=32)


def test_a_layer_that_runs_twice():
    relu = nn.ReLU()
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), relu, nn.Conv2d(4, 4, 3), relu, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    with pytest.raises(
        ValueError, match="`layers`: expected a layer that runs once in a forward pass, '1' ran 2 times"
    ):
        AttentionDropout(network, 2, ["1"], image_size=16)
