"""`build_network`: names, stems, heads, pretrained weights (without a network connection), errors.

Large networks are built on the meta device: shapes without memory or time.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

import pytest
import torch
from torch import nn
from torchvision import models
from torchvision.models._api import WeightsEnum

from camtrain.networks import CIFARResNet, build_network


@pytest.mark.parametrize(
    ("name", "stem", "side"),
    [
        ("resnet18", "imagenet", 64),
        ("resnet18", "small", 32),
        ("wide_resnet50_2", "small", 32),
        ("mobilenet_v2", "imagenet", 64),
        ("mobilenet_v2", "small", 32),
        ("densenet121", "imagenet", 64),
        ("densenet121", "small", 32),
        ("vgg11", "imagenet", 64),
        ("vgg11_bn", "imagenet", 32),
        ("squeezenet1_1", "imagenet", 64),
        ("efficientnet_b0", "imagenet", 64),
        ("convnext_tiny", "imagenet", 64),
        ("vit_b_16", "imagenet", 224),
        ("googlenet", "imagenet", 64),
        ("inception_v3", "imagenet", 96),
        ("cifar_resnet8", "imagenet", 16),
        ("cifar_resnet56", "small", 32),
    ],
)
def test_logits_in_training_mode(name, stem, side):
    with torch.device("meta"):
        network = build_network(name, 7, stem=stem)
        assert all(module.training for module in network.modules())
        logits = network(torch.zeros(2, 3, side, side))
    assert isinstance(logits, torch.Tensor)  # GoogLeNet and Inception are not to put out a tuple
    assert logits.shape == (2, 7)


@pytest.mark.parametrize("depth", [8, 14, 20, 32, 44, 56])
@pytest.mark.parametrize("stem", ["imagenet", "small"])
def test_own_networks(depth, stem):
    network = build_network(f"cifar_resnet{depth}", 5, stem=stem)
    assert isinstance(network, CIFARResNet)
    assert len(network.layer1) == len(network.layer3) == (depth - 2) // 6
    assert network.fc.out_features == 5


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "densenet121"])
def test_imagenet_stem_is_torchvisions_network(name):
    torch.manual_seed(0)
    expected = models.get_model(name, weights=None, num_classes=3).state_dict()
    torch.manual_seed(0)
    ours = build_network(name, 3).state_dict()
    assert expected.keys() == ours.keys()
    assert all(torch.equal(expected[key], ours[key]) for key in expected)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("resnet81", "'resnet18'"), ("mobilenetv2", "'mobilenet_v2'"), ("cifar_resnet9", "'cifar_resnet")],
)
def test_unknown_name(name, nearest):
    with pytest.raises(
        ValueError, match=f"`network`: no image classifier is called '{name}'; did you mean .*{nearest}"
    ):
        build_network(name, 10)


@pytest.mark.parametrize("name", ["fasterrcnn_resnet50_fpn", "r3d_18", "deeplabv3_resnet50", "raft_small"])
def test_models_of_torchvision_that_are_no_classifiers_of_images(name):
    assert name in models.list_models()
    with pytest.raises(ValueError, match="`network`: no image classifier is called"):
        build_network(name, 10)


@pytest.mark.parametrize("num_classes", [0, -3])
@pytest.mark.parametrize("name", ["resnet18", "cifar_resnet8"])
def test_wrong_num_classes(name, num_classes):
    with pytest.raises(ValueError, match=f"`num_classes`: expected a positive integer, got {num_classes}"):
        build_network(name, num_classes)


def test_unknown_stem():
    with pytest.raises(ValueError, match="`stem`: expected one of 'imagenet', 'small', got 'cifar'"):
        build_network("resnet18", 10, stem="cifar")


def test_network_without_a_small_stem():
    with torch.device("meta"), pytest.raises(ValueError, match=r"`stem`: 'small' is available for .* got VGG"):
        build_network("vgg11", 10, stem="small")


@pytest.mark.parametrize(("name", "stem"), [("resnet18", "small"), ("cifar_resnet8", "imagenet")])
def test_weights_of_a_network_that_has_none(name, stem):
    with pytest.raises(ValueError, match=f"`weights`: '{name}' with stem='{stem}' has no pretrained weights"):
        build_network(name, 10, stem=stem, weights="DEFAULT")


@pytest.mark.parametrize("weights", ["IMAGENET1K_V7", "default", "ResNet50_Weights.DEFAULT", ""])
def test_unknown_weights(weights):
    nearest = "'DEFAULT'" if weights == "default" else "'IMAGENET1K_V1'"
    with pytest.raises(ValueError, match=f"`weights`: 'resnet18' has none called '{weights}'; .*{nearest}"):
        build_network("resnet18", 10, weights=weights)


@pytest.fixture
def pretrained(monkeypatch):
    """Torchvision's `get_model` without its download: random weights on the meta device. Yields the calls."""
    calls = []
    get_model = models.get_model

    def without_download(name, weights=None, **options):
        calls.append((name, weights, options))
        with torch.device("meta"):
            return get_model(name, weights=None, **options)

    monkeypatch.setattr(models, "get_model", without_download)
    return calls


@pytest.mark.parametrize("weights", ["DEFAULT", "IMAGENET1K_V1", "ResNet18_Weights.IMAGENET1K_V1"])
def test_weights_are_torchvisions(pretrained, weights):
    assert build_network("resnet18", 7, weights=weights).fc.out_features == 7
    assert pretrained == [("resnet18", weights, {})]


@pytest.mark.parametrize(
    ("name", "head", "side"),
    [
        ("resnet18", "fc", 64),
        ("vgg11", "classifier.6", 64),
        ("mobilenet_v2", "classifier.1", 64),
        ("densenet121", "classifier", 64),
        ("vit_b_16", "heads.head", 224),
        ("swin_t", "head", 64),
        ("convnext_tiny", "classifier.2", 64),
        ("efficientnet_b0", "classifier.1", 64),
        ("maxvit_t", "classifier.5", 224),
        ("mobilenet_v3_small", "classifier.3", 64),
    ],
)
def test_head_is_replaced_and_nothing_else(pretrained, monkeypatch, name, head, side):
    kept = {}
    fake = models.get_model

    def remembered(*args, **options):
        network = fake(*args, **options)
        kept.update(dict(network.named_parameters()))
        return network

    monkeypatch.setattr(models, "get_model", remembered)
    with torch.device("meta"):
        network = build_network(name, 7, weights="DEFAULT")
        assert network(torch.zeros(2, 3, side, side)).shape == (2, 7)
    new = {key for key, parameter in network.named_parameters() if kept.get(key) is not parameter}
    assert new == {key for key in kept if key.startswith(f"{head}.")}  # with its bias where there was one
    assert all(module.training for module in network.modules())


def test_head_of_the_right_size_is_kept(monkeypatch):
    network = models.resnet18(num_classes=1000)
    head = network.fc
    monkeypatch.setattr(models, "get_model", lambda *_args, **_options: network)
    assert build_network("resnet18", 1000, weights="DEFAULT").fc is head


PUBLISHED = {"googlenet": models.GoogLeNet, "inception_v3": models.Inception3}


@pytest.fixture
def published(monkeypatch):
    """Torchvision's own functions load what they would download: weights, here random, with auxiliary heads."""
    made = []

    def weights_of(weights, *_args, **_options):
        kind = PUBLISHED["googlenet" if isinstance(weights, models.GoogLeNet_Weights) else "inception_v3"]
        made.append(kind(aux_logits=True, init_weights=False).state_dict())
        return made[-1]

    monkeypatch.setattr(WeightsEnum, "get_state_dict", weights_of)
    return made


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_weights_without_auxiliary_heads(published, name):
    network = build_network(name, 7, weights="DEFAULT")
    (weights,) = published
    assert any(key.startswith(("aux1.", "AuxLogits.")) for key in weights)
    made = network.state_dict()
    with torch.device("meta"):
        assert made.keys() == PUBLISHED[name](aux_logits=False, init_weights=False).state_dict().keys()
    assert all(torch.equal(value, weights[key]) for key, value in made.items() if not key.startswith("fc."))
    logits = network.train()(torch.rand(2, 3, 96, 96))
    assert isinstance(logits, torch.Tensor)  # a tuple, if a head were left
    assert logits.shape == (2, 7)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_network_that_is_made_again_sees_the_same_images(published, name):
    """Torchvision's pretrained networks change the normalization of images, which no state dict says."""
    again = first_convolved(build_network(name, 5))
    assert torch.equal(first_convolved(build_network(name, 5, weights="DEFAULT")), again)


def first_convolved(network):
    """What the first convolution of a network gets for some images."""
    seen = []
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    first.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    network.eval()(torch.linspace(-1, 1, 3 * 96 * 96).reshape(1, 3, 96, 96))
    return seen[0]


@pytest.mark.parametrize("name", PUBLISHED)
def test_images_of_other_channels_are_left_as_they_are(published, name):
    network = build_network(name, 5, weights="DEFAULT", in_channels=4).eval()
    assert network(torch.zeros(1, 4, 96, 96)).shape == (1, 5)


def test_pretrained_network_without_a_linear_head(pretrained):
    with pytest.raises(ValueError, match="`weights`: SqueezeNet has no linear head to replace; use weights=None"):
        build_network("squeezenet1_1", 7, weights="DEFAULT")


def test_classes_are_those_of_the_network_where_none_are_named(pretrained):
    with torch.device("meta"):
        assert build_network("resnet18").fc.out_features == 1000
        assert build_network("squeezenet1_1", weights="DEFAULT").classifier[1].out_channels == 1000
    assert build_network("cifar_resnet8").fc.out_features == 10


TIMM = pytest.mark.skipif(find_spec("timm") is None, reason="timm is an extra")


@TIMM
def test_a_network_of_timm():
    import timm

    torch.manual_seed(0)
    expected = timm.create_model("test_resnet", num_classes=7).state_dict()
    torch.manual_seed(0)
    network = build_network("timm:test_resnet", 7)
    assert all(torch.equal(expected[key], value) for key, value in network.state_dict().items())
    assert network.training
    assert network(torch.rand(2, 3, 32, 32)).shape == (2, 7)
    assert build_network("timm:test_resnet.r160_in1k").num_classes == 1000


@TIMM
@pytest.mark.parametrize(
    ("name", "weights", "asked_for"),
    [
        ("timm:test_resnet", None, ("test_resnet", False)),
        ("timm:test_resnet", "DEFAULT", ("test_resnet", True)),
        ("timm:test_resnet", "r160_in1k", ("test_resnet.r160_in1k", True)),
        ("timm:test_resnet.r160_in1k", "DEFAULT", ("test_resnet.r160_in1k", True)),
    ],
)
def test_weights_of_timm(monkeypatch, name, weights, asked_for):
    import timm

    calls = []
    monkeypatch.setattr(timm, "create_model", lambda *words, pretrained: calls.append((*words, pretrained)))
    build_network(name, weights=weights)
    assert calls == [asked_for]


@TIMM
@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("timm:resnet81", {}, "`network`: timm has no model called 'resnet81'; did you mean .*'resnet18'"),
        (
            "timm:resnet18.a7_in1k",
            {},
            "`network`: timm's 'resnet18' has no weights 'a7_in1k'; did you mean .*'a1_in1k'",
        ),
        ("timm:resnet18", {"weights": "a7_in1k"}, "`weights`: timm's 'resnet18' has none called 'a7_in1k'; did you"),
        ("timm:densenet264d", {"weights": "DEFAULT"}, "`weights`: timm's 'densenet264d' has none .* there are none"),
        ("timm:resnet18", {"stem": "small"}, "`stem`: 'small' is for networks of torchvision"),
    ],
)
def test_what_timm_does_not_have(name, options, message):
    with pytest.raises(ValueError, match=message):
        build_network(name, **options)


def test_without_timm(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match=r"`network`: 'timm:resnet18' needs timm; pip install 'camtrain\[timm\]'"):
        build_network("timm:resnet18")
