"""What networks with an attention head share: the attended layer, the product, no trace, and training through it."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from camtrain import Classifier, Objective
from camtrain.cams import GradCAM
from camtrain.gradients import DoubleBackprop, FrozenGates, left_as_found
from camtrain.networks import (
    LFICAM,
    AttendedNetwork,
    AttentionBranch,
    AttentionHead,
    AttentionOutput,
    CIFARResNet,
    attention_heads,
    build_network,
    last_spatial_layer,
    layer_before_last_stage,
)
from camtrain.regularizers import InterpretableGradient

KINDS = pytest.mark.parametrize("kind", [AttentionBranch, LFICAM])
MODES = pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])


class Constant(AttentionHead):
    """The same attention everywhere; counts how often it is run."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value, self.runs = value, 0

    def forward(self, features: Tensor, images: Tensor) -> AttentionOutput:
        self.runs += 1
        assert images.shape[1:] == (3, 16, 16)
        return AttentionOutput(torch.full_like(features[:, :1], self.value), None)


def made(kind, dtype=torch.float64, seed=0, **options):
    torch.manual_seed(seed)
    backbone = CIFARResNet(depth=8, num_classes=4, width=4)
    network = kind(backbone, 4, image_size=16, width=6, blocks=1, **options).to(dtype)
    with torch.no_grad():
        network(3 * torch.rand(16, 3, 16, 16, dtype=dtype))  # statistics that are not the first
    return network


def batch(dtype=torch.float64, count=4):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, 16, 16, dtype=dtype, generator=generator), torch.arange(count) % 4


# The layer ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "side", "expected"),
    [
        ("resnet18", 64, "layer3"),
        pytest.param(
            "resnet50", 64, "layer3", marks=pytest.mark.slow
        ),  # and not the convolution of layer4 that its shortcut goes around
        ("mobilenet_v2", 64, "features.13"),  # and not the expansion inside of features.14
        pytest.param("densenet121", 64, "features.denseblock3", marks=pytest.mark.slow),
        pytest.param("efficientnet_b0", 64, "features.5", marks=pytest.mark.slow),
        pytest.param("convnext_tiny", 64, "features.5", marks=pytest.mark.slow),
        pytest.param("swin_t", 64, "features.5", marks=pytest.mark.slow),
        ("vgg11", 64, "features.19"),  # in front of the last max pooling
        ("cifar_resnet8", 32, "layer2"),
    ],
)
def test_layer_before_last_stage(name, side, expected):
    with torch.device("meta"):
        network = build_network(name, 7).eval()
        assert layer_before_last_stage(network, torch.zeros(2, 3, side, side)) == expected


def test_layer_where_the_resolution_does_not_change():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    assert layer_before_last_stage(network, torch.zeros(1, 3, 8, 8)) == "1"
    with torch.device("meta"), pytest.raises(ValueError, match=r"`layer`: no layer of VisionTransformer .*name the"):
        layer_before_last_stage(build_network("vit_b_32", 2).eval(), torch.zeros(1, 3, 224, 224))


@KINDS
def test_a_layer_is_found_or_named(kind):
    found = {AttentionBranch: "layer2", LFICAM: "layer3"}[kind]
    assert (made(kind).layer, made(kind).channels) == (found, {"layer2": 8, "layer3": 16}[found])
    assert (made(kind, layer="layer1").layer, made(kind, layer="layer1").channels) == ("layer1", 4)
    assert kind("resnet18", 4, stem="small", blocks=1).layer == {"layer2": "layer3", "layer3": "layer4"}[found]


def test_tokens_can_be_attended():
    """A layer in the middle of a vision transformer; its class token is left as it is."""
    torch.manual_seed(0)
    with torch.device("meta"):
        backbone = build_network("vit_b_32", 2)
    network = AttentionBranch(backbone, 2, "encoder.layers.encoder_layer_10", width=8)
    assert network.channels == 768
    assert network(torch.zeros(2, 3, 224, 224, device="meta")).shape == (2, 2)


@KINDS
def test_what_can_not_be_built_is_said(kind):
    backbone = CIFARResNet(depth=8, num_classes=4, width=4)
    with pytest.raises(ValueError, match=r"`layer`: no module is called 'layer9'; did you mean .*'layer1'"):
        kind(backbone, 4, "layer9")
    with pytest.raises(
        ValueError, match=r"`layer`: expected a layer that runs once in a forward pass, 'layer1.0.relu' ran 2"
    ):
        kind(backbone, 4, "layer1.0.relu")
    with pytest.raises(ValueError, match=r"`layer`: expected a layer that puts out .*got \(1, 4\)"):
        kind(backbone, 4, "fc")
    with pytest.raises(ValueError, match=r"`backbone`: expected \(1, 5\) logits of one image, got \(1, 4\)"):
        kind(backbone, 5)
    with pytest.raises(ValueError, match=r"`stem`, `weights`: expected .* got 'small' and None"):
        kind(backbone, 4, stem="small")
    with pytest.raises(ValueError, match=r"`image_size`: Sequential cannot run on images of 224×224 pixels"):
        kind(nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 4)), 4)
    for name in ("width", "blocks"):
        with pytest.raises(ValueError, match=f"`{name}`: expected a positive integer, got 0"):
            kind(backbone, 4, image_size=16, **{name: 0})


def test_a_backbone_is_looked_at_through_a_copy():
    class Noise(nn.Module):
        def forward(self, features: Tensor) -> Tensor:
            return features + torch.rand_like(features)

    backbone = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4), nn.ReLU(), Noise(),
                             nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))  # fmt: skip
    backbone[1].eval()
    before, generator = copy.deepcopy(backbone.state_dict()), torch.get_rng_state()
    assert AttendedNetwork(backbone, 2, None, "imagenet", None, 16, last_spatial_layer).layer == "3"
    assert torch.equal(torch.get_rng_state(), generator)
    assert [module.training for module in backbone] == [True, False, *[True] * 5]
    assert not any(module._forward_hooks for module in backbone.modules())
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, before[name])


# The product -------------------------------------------------------------------------------------


@KINDS
@MODES
def test_without_attention_it_is_the_backbone(kind, training):
    network, (images, _) = made(kind).train(training), batch()
    network.attention_head = Constant(0.0)
    plain = copy.deepcopy(network.backbone)
    assert torch.equal(network(images), plain(images))


@KINDS
def test_the_features_are_multiplied_by_one_plus_the_attention(kind):
    network, (images, _) = made(kind).eval(), batch()
    backbone = network.backbone
    network.attention_head = Constant(0.5)
    names = ["layer1", "layer2", "layer3"]
    features = F.relu(backbone.bn1(backbone.conv1(images)))
    for name in names:
        features = backbone.get_submodule(name)(features)
        features = features * 1.5 if name == network.layer else features
    torch.testing.assert_close(network(images), backbone.fc(features.mean(dim=(-2, -1))))
    assert network.attention_head.runs == 1


@KINDS
def test_the_attention_is_that_of_the_head(kind):
    network, (images, _) = made(kind).eval(), batch()
    backbone = network.backbone
    features = F.relu(backbone.bn1(backbone.conv1(images)))
    for name in ("layer1", "layer2", "layer3"):
        features = backbone.get_submodule(name)(features)
        if name == network.layer:
            attention = network.attention_head(features, images).attention
            assert attention.shape == (4, 1, *features.shape[-2:])
            assert float(attention.detach().std()) > 0.01
            features = features + attention * features
    torch.testing.assert_close(network(images), backbone.fc(features.mean(dim=(-2, -1))))


@KINDS
def test_the_hook_lives_in_the_forward_alone(kind):
    network, (images, _) = made(kind).eval(), batch()
    layer = network.backbone.get_submodule(network.layer)
    plain = network.backbone(images)
    assert not torch.equal(network(images), plain)
    assert not layer._forward_hooks
    assert torch.equal(network.backbone(images), plain)

    def refuse(*_):
        raise RuntimeError("in the head")

    handle = network.attention_head.register_forward_pre_hook(refuse)
    with pytest.raises(RuntimeError, match="in the head"):
        network(images)
    assert not layer._forward_hooks
    handle.remove()
    assert torch.equal(network.backbone(images), plain)


def test_a_layer_that_is_not_run_once_is_an_error():
    class Often(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.head, self.runs = nn.Conv2d(3, 3, 1), nn.Linear(3, 2), 1

        def forward(self, images: Tensor) -> Tensor:
            for _ in range(self.runs):
                images = self.layer(images)
            return self.head(images.mean(dim=(-2, -1)))

    network = AttentionBranch(Often(), 2, "layer", image_size=8)
    for runs, more in ((0, "; a compiled backbone hides it"), (2, "$")):
        network.backbone.runs = runs
        with pytest.raises(ValueError, match=f"'layer' ran {runs} times{more}"):
            network(torch.rand(2, 3, 8, 8))


# Copies and other parts of camtrain ---------------------------------------------------------------


@KINDS
def test_copies_are_the_same_network_and_apart(kind):
    network, (images, _) = made(kind).eval(), batch()
    expected = network(images)
    other = made(kind, seed=5).eval()
    assert not torch.equal(other(images), expected)
    other.load_state_dict(network.state_dict())
    for twin in (copy.deepcopy(network), pickle.loads(pickle.dumps(network)), other):
        assert torch.equal(twin(images), expected)
        with torch.no_grad():
            for parameter in twin.parameters():
                parameter.zero_()
        assert torch.equal(network(images), expected)
    names = {f"backbone.{name}" for name in CIFARResNet(depth=8).state_dict()}
    assert names == {name for name in network.state_dict() if not name.startswith("attention_head.")}
    assert list(attention_heads(nn.Sequential(network))) == ["0.attention_head"]


@KINDS
def test_the_last_spatial_layer_is_the_backbones(kind):
    """And nothing inside of the head, which is run after it or beside it."""
    network, (images, _) = made(kind).eval(), batch()
    for layer in ("layer2", "layer3"):
        assert last_spatial_layer(made(kind, layer=layer).eval(), images) == "backbone.layer3"
    cam = GradCAM(network)(images, 2)
    explained = GradCAM(network, "backbone.layer3")(images, 2)
    assert torch.equal(cam, explained)


@KINDS
def test_grad_cam_at_the_attended_layer(kind):
    """Its activations are the features before attention, and its gradient goes both ways."""
    network, (images, _) = made(kind).eval(), batch()
    features: list[Tensor] = []
    greatest = []

    def replace(_module, _inputs, output):
        features.append(output.detach().requires_grad_())
        return features[0]

    handle = network.backbone.get_submodule(network.layer).register_forward_hook(replace)
    logits = network(images)
    handle.remove()
    for class_idx in range(4):
        (gradient,) = torch.autograd.grad(logits[:, class_idx].sum(), features[0], retain_graph=True)
        expected = F.relu((gradient.mean(dim=(-2, -1), keepdim=True) * features[0].detach()).sum(dim=1))
        torch.testing.assert_close(GradCAM(network, f"backbone.{network.layer}")(images, class_idx), expected)
        greatest.append(float(expected.max()))
    assert max(greatest) > 0


@KINDS
def test_left_as_found_holds_the_statistics_of_the_head_too(kind):
    network, (images, _) = made(kind).train(), batch()
    before = copy.deepcopy(network.state_dict())
    with left_as_found(network, images.device):
        network(images)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name
    network(images)
    assert any(not torch.equal(value, before[name]) for name, value in network.state_dict().items() if "head" in name)


# Training ----------------------------------------------------------------------------------------


def gradients_of(kind, engine, training):
    network, (images, labels) = made(kind).train(training), batch()
    step = Objective(InterpretableGradient(), weight=1.0, engine=engine)(network, images, labels)
    step.loss.backward()
    plain = made(kind).train(training)
    F.cross_entropy(plain(images), labels).backward()
    return step, {
        name: None if parameter.grad is None else parameter.grad - other.grad
        for (name, parameter), other in zip(network.named_parameters(), plain.parameters(), strict=True)
    }


@KINDS
@MODES
def test_frozen_gates_train_it_as_double_backpropagation_does(kind, training):
    """With the gradient of L less that of L_C, in float64: the backbone and the head."""
    exact, expected = gradients_of(kind, DoubleBackprop(), training)
    held, found = gradients_of(kind, FrozenGates(), training)
    torch.testing.assert_close(held.regularization, exact.regularization)
    assert {name for name, gradient in expected.items() if gradient is None} == (
        {"attention_head.classifier.weight"} if kind is AttentionBranch else set()
    )
    for part in ("backbone", "attention_head"):
        names = [name for name in expected if name.startswith(part) and expected[name] is not None]
        reference = torch.cat([expected[name].flatten() for name in names])
        ours = torch.cat([found[name].flatten() for name in names])
        assert float(reference.norm()) > 1e-3
        torch.testing.assert_close(ours, reference, rtol=0, atol=1e-3 * float(reference.norm()))


@KINDS
def test_one_step_moves_backbone_and_head(kind):
    network, (images, labels) = made(kind, torch.float32).train(), batch(torch.float32)
    classifier = Classifier(network, num_classes=4)
    (optimizer,) = [classifier.configure_optimizers()]
    before = copy.deepcopy(network.state_dict())
    F.cross_entropy(classifier(images), labels).backward()
    optimizer.step()
    still = {name for name, value in network.named_parameters() if torch.equal(value, before[name])}
    assert still == ({"attention_head.classifier.weight"} if kind is AttentionBranch else set())
