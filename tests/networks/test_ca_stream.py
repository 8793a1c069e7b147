"""The stream of cross-attention by hand, its place beside a frozen backbone, and the networks that it refuses."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import VisionTransformer, mobilenet_v2

from camtrain import Classifier, Objective
from camtrain.cams import AttentionMap, GradCAM
from camtrain.gradients import DoubleBackprop, FrozenGates
from camtrain.networks import CAStream, CIFARResNet, CrossAttentionStream, last_linear, last_spatial_layer, stage_layers
from camtrain.networks.ca_stream import cross_attention
from camtrain.regularizers import InterpretableGradient, MapSparsity


def resnet(width=4):
    torch.manual_seed(0)
    network = CIFARResNet(depth=8, num_classes=3, width=width)
    with torch.no_grad():
        network(2 * torch.randn(8, 3, 16, 16) + 1)  # statistics of its own
    return network


def stream_of(backbone=None, **settings):
    torch.manual_seed(1)
    return CAStream(resnet() if backbone is None else backbone, 3, **({"image_size": 16} | settings))


def small_vit():
    return VisionTransformer(
        image_size=32, patch_size=16, num_layers=1, num_heads=1, hidden_dim=8, mlp_dim=8, num_classes=3
    )


def without_queries(network):
    """Make every query zero, so that the attention is uniform."""
    with torch.no_grad():
        network.attention_head.token.zero_()
        for projection in network.attention_head.projections[:-1]:
            projection.weight.zero_()
            projection.bias.zero_()
    return network


class ChannelsLast(nn.Module):
    """Its stages put out (N, h, w, C), as those of a Swin transformer."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Conv2d(3, 5, 2, stride=2)
        self.first = nn.Linear(5, 6)
        self.pool = nn.AvgPool2d(2)
        self.last = nn.Linear(6, 7)
        self.fc = nn.Linear(7, 3)

    def forward(self, images):
        first = self.first(self.embedding(images).movedim(1, 3)).relu()
        return self.fc(self.last(self.pool(first.movedim(3, 1)).movedim(1, 3)).mean(dim=(1, 2)))


def test_two_stages_by_hand():
    """The query 2 of one channel; then W_0 and b_0 make (√2, 0) of the average; then the identity and a bias."""
    stream = CrossAttentionStream([1, 2]).double()
    log3 = math.log(3)
    average = 0.75 * log3 / 2
    with torch.no_grad():
        stream.token.fill_(2.0)
        stream.projections[0].weight.copy_(torch.tensor([[math.sqrt(2) / (2 * average)], [1.0]]))
        stream.projections[0].bias.copy_(torch.tensor([math.sqrt(2) / 2, -average]))
        stream.projections[1].bias.copy_(torch.tensor([10.0, 0.0]))
    first = torch.tensor([[[[0.0, log3 / 2]]]], dtype=torch.float64)  # scores 0 and log 3
    last = torch.tensor([[[[0.0], [log3]], [[8.0], [4.0]]]], dtype=torch.float64)  # √2 · F / √2 of the first channel
    expected = torch.tensor([[[[0.25], [0.75]]]], dtype=torch.float64)
    torch.testing.assert_close(cross_attention(first, torch.full((1, 1), 2.0).double()), expected.mT)
    output = stream([first, last], torch.zeros(1, 3, 2, 2))
    torch.testing.assert_close(output.attention, expected)
    assert output.logits is None
    pooled = stream.pooled(last, output.attention)
    torch.testing.assert_close(pooled, torch.tensor([[0.75 * log3 + 10, 0.25 * 8 + 0.75 * 4]], dtype=torch.float64))


def test_a_stream_begins_as_in_the_paper():
    torch.manual_seed(0)
    stream = CrossAttentionStream([2000, 30, 40])
    assert stream.token.mean().item() == pytest.approx(1, abs=0.1)
    assert stream.token.std().item() == pytest.approx(1, abs=0.1)
    assert [tuple(each.weight.shape) for each in stream.projections] == [(30, 2000), (40, 30), (40, 40)]
    assert torch.equal(stream.projections[-1].weight, torch.eye(40))
    with pytest.raises(ValueError, match=r"`channels`: expected a positive number for each stage, got \[\]"):
        CrossAttentionStream([])


def test_gradient():
    torch.manual_seed(0)
    stream = CrossAttentionStream([2, 3]).double()
    inputs = [torch.randn(2, 2, 3, 2).double().requires_grad_(), torch.randn(2, 3, 2, 1).double().requires_grad_()]

    def of_all(first, last, *_):
        attention = stream([first, last], first).attention
        return attention, stream.pooled(last, attention)

    assert torch.autograd.gradcheck(of_all, (*inputs, *stream.parameters()))
    assert torch.autograd.gradgradcheck(of_all, (*inputs, *stream.parameters()))


def test_logits_of_a_resnet_by_a_loop(double_by_default):
    network, images = stream_of(resnet().double()), torch.randn(2, 3, 16, 16)
    assert network.layers == ["layer1", "layer2", "layer3"]
    nn.init.normal_(network.attention_head.projections[-1].weight)
    backbone, head = network.backbone, network.attention_head
    features = F.relu(backbone.bn1(backbone.conv1(images)))
    query = head.token.expand(2, -1)
    for stage, projection in zip((backbone.layer1, backbone.layer2, backbone.layer3), head.projections, strict=True):
        features = stage(features)
        averages = torch.zeros(2, features.shape[1])
        for image in range(2):
            places = features[image].flatten(1)
            scores = (query[image] @ places / features.shape[1] ** 0.5).exp()
            averages[image] = (places * scores / scores.sum()).sum(dim=1)
        query = averages @ projection.weight.T + projection.bias
    torch.testing.assert_close(network(images), backbone.fc(query))


@pytest.mark.parametrize(
    "make",
    [resnet, lambda: mobilenet_v2(num_classes=3), ChannelsLast],
    ids=["resnet", "functional_pooling", "channels_last"],
)
def test_uniform_attention_is_the_plain_backbone(make, double_by_default):
    """Also where the pooling is no module, and where channels come last."""
    backbone, images = make().double(), torch.randn(2, 3, 64, 64)
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    backbone.train()(images)  # statistics that keep the activations of an untrained network from vanishing
    backbone.eval()
    network = stream_of(backbone, image_size=64).eval()
    expected = backbone(images)
    assert (network(images) - expected).abs().max() > 1e-6 * expected.abs().max()
    torch.testing.assert_close(without_queries(network)(images), expected, rtol=1e-9, atol=1e-12)
    assert not any(module._forward_hooks for module in backbone.modules())


@pytest.mark.parametrize("engine", [None, DoubleBackprop(), FrozenGates()], ids=["plain", "double", "frozen_gates"])
def test_a_step_trains_the_stream_alone(engine):
    network = stream_of()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    regularizer = None if engine is None else InterpretableGradient("mae")
    objective = Objective(regularizer, None if engine is None else 1.0, engine)
    module = Classifier(network, 3)
    module.train()
    assert network.training
    assert network.attention_head.training
    assert not any(each.training for each in network.backbone.modules())
    optimizer = module.configure_optimizers()
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(
        list(network.attention_head.parameters())
    )
    for _ in range(2):
        optimizer.zero_grad()
        objective(network, torch.randn(4, 3, 16, 16), torch.arange(4) % 3).loss.backward()
        optimizer.step()
    assert all(parameter.grad is None for parameter in network.backbone.parameters())
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {f"attention_head.{name}" for name, _ in network.attention_head.named_parameters()}


def test_engines_agree_on_the_gradient_of_the_stream(double_by_default):
    network, images, labels = stream_of(resnet().double()), torch.randn(4, 3, 16, 16), torch.arange(4) % 3
    gradients = []
    for engine in (DoubleBackprop(), FrozenGates()):
        network.zero_grad()
        Objective(InterpretableGradient(), 1.0, engine)(network, images, labels).loss.backward()
        gradients.append(torch.cat([each.grad.flatten() for each in network.attention_head.parameters()]))
    assert (gradients[0] - gradients[1]).norm() <= 1e-2 * gradients[0].norm()


def test_the_map_is_the_attention_to_the_last_stage():
    network, images = stream_of().eval(), torch.randn(2, 3, 16, 24)
    maps = AttentionMap(network)(images, class_idx=1)
    assert maps.shape == (2, 4, 6)
    torch.testing.assert_close(maps.sum(dim=(1, 2)), torch.ones(2))
    captured = []
    network.attention_head.register_forward_hook(lambda _module, inputs, output: captured.append((inputs, output)))
    network(images)
    ((features, _), output) = captured[0]
    assert [tuple(each.shape[1:]) for each in features] == [(4, 16, 24), (8, 8, 12), (16, 4, 6)]
    assert torch.equal(maps, output.attention.squeeze(1))
    Objective(MapSparsity("attention_map"), 1.0)(network, images, torch.tensor([0, 1])).loss.backward()
    assert all(parameter.grad.norm() > 0 for parameter in network.attention_head.projections[:-1].parameters())


def test_a_cam_sees_the_features_before_the_pooling():
    """The logits are linear in the pooled features, and the attention says how much of them comes from a place."""
    network, images = stream_of().eval(), torch.randn(2, 3, 16, 16)
    assert last_spatial_layer(network, images) == "backbone.layer3"
    assert last_linear(network) == "backbone.fc"
    with torch.no_grad():
        features = network.backbone.layer3(network.backbone.layer2(network.backbone.layer1(
            F.relu(network.backbone.bn1(network.backbone.conv1(images)))
        )))  # fmt: skip
    without_queries(network)
    weight = network.backbone.fc.weight[1] / features[0, 0].numel()
    expected = torch.einsum("c,nchw->nhw", weight, features).clamp(min=0)
    torch.testing.assert_close(GradCAM(network, "backbone.layer3")(images, 1), expected, rtol=1e-4, atol=1e-6)


def test_a_stage_is_read_before_the_next_layer_works_in_place():
    def network(inplace):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.ReLU(inplace), nn.Conv2d(4, 4, 2, stride=2), nn.ReLU(inplace),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3),
        )  # fmt: skip

    images = torch.randn(2, 3, 16, 16)
    first, second = (stream_of(network(inplace), layers=["0", "2"]) for inplace in (False, True))
    assert torch.equal(first(images), second(images))
    second(images).sum().backward()
    assert second.attention_head.token.grad.norm() > 0


def test_stages_are_found_or_named():
    network = mobilenet_v2(num_classes=3).eval()
    found = ["features.1", "features.3", "features.6", "features.13", "features"]
    assert stage_layers(network, torch.zeros(1, 3, 64, 64)) == found
    assert stream_of(network, layers=["features.3", "features.18"], image_size=64).layers == [
        "features.3",
        "features.18",
    ]
    assert stream_of("resnet18", stem="small", image_size=None).layers == ["layer1", "layer2", "layer3", "layer4"]


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.relu, self.fc = nn.Conv2d(3, 3, 1), nn.ReLU(), nn.Linear(3, 3)
        self.times = 1

    def forward(self, images):
        for _ in range(self.times):
            images = self.layer(images)
        return self.fc(self.relu(images).mean(dim=(2, 3)))


def flat():
    return nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 16 * 16, 3))


class Bypassed(Twice):
    """Its logits see more than its last map."""

    def forward(self, images):
        return super().forward(images) + images.mean(dim=(2, 3))


@pytest.mark.parametrize(
    ("make", "settings", "message"),
    [
        (flat, {}, "`backbone`: expected a network that classifies the average of the output of '1'; the logits of S"),
        (Bypassed, {"layers": ["layer"]}, "`backbone`: .* or on more than that output"),
        (small_vit, {"image_size": 32}, "`backbone`: .* the logits of VisionTransformer depend"),
        (resnet, {"layers": ["layer1", "layer2"]}, "`backbone`: .* the average of the output of 'layer2'"),
        (resnet, {"layers": ["layer3", "layer2"]}, "`layers`: expected layers that run once .* in this order, got"),
        (resnet, {"layers": []}, r"`layers`: expected layers that run once in a forward pass, in this order, got \[\]"),
        (resnet, {"layers": ["layer4"]}, "`layers`: no module is called 'layer4'; did you mean"),
        (resnet, {"layers": ["layer3", "fc"]}, "`layers`: expected a layer that puts out"),
        (resnet, {"image_size": 4, "layers": ["layer2", "layer3"]}, r"more than one pixel, 'layer3' puts out \(1, 16"),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(768, 3)), {}, "`layers`: no layer of Sequential with no skip"),
        (resnet, {"stem": "small"}, "`stem`, `weights`: expected 'imagenet' and None beside a backbone"),
    ],
)  # fmt: skip
def test_networks_and_layers_that_do_not_fit_are_named(make, settings, message):
    with pytest.raises(ValueError, match=message):
        stream_of(make(), **settings)
    with pytest.raises(ValueError, match=r"`backbone`: expected \(1, 4\) logits of one image, got \(1, 3\)"):
        CAStream(resnet(), 4, image_size=16)


def test_a_layer_that_runs_again_later_is_named_and_no_hook_stays():
    backbone = Twice()
    network = stream_of(backbone, layers=["layer"])
    backbone.times = 2
    with pytest.raises(ValueError, match=r"`layers`: expected a layer that runs once .* ran 2 times"):
        network(torch.randn(2, 3, 16, 16))
    backbone.times = 0
    with pytest.raises(ValueError, match="'layer' ran 0 times; a compiled backbone hides it"):
        network(torch.randn(2, 3, 16, 16))
    assert not any(module._forward_hooks for module in backbone.modules())
