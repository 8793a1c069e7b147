"""Networks that put out more than logits: an object, a tuple, or auxiliary heads in training mode."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import nn
from torchvision.models import GoogLeNet

import camtrain
from camtrain import Classifier, Objective
from camtrain.cams import CAM, GradCAM
from camtrain.checked_logits import checked_logits
from camtrain.gradients import DoubleBackprop, FrozenGates
from camtrain.methods import METHODS, method_named
from camtrain.networks import AttentionBranch, CIFARResNet, LogitsOf, last_spatial_layer
from camtrain.regularizers import (
    ExpectedGradientsPrior,
    GradientNorm,
    InterpretableGradient,
    MapConsistency,
    MapSparsity,
    SaliencyGuided,
)


class ModelOutput(OrderedDict):
    """An ordered dictionary with attributes, as the outputs of Hugging Face's `transformers` are."""

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(name) from error


OUTPUTS = {
    "an object": lambda logits, features: ModelOutput(logits=logits, hidden_states=(features,)),
    "a dictionary": lambda logits, features: {"logits": logits, "features": features},
    "a tuple": lambda logits, features: (features, logits),
    "a tensor": lambda logits, features: logits,
}


class Talkative(nn.Module):
    """Puts out its logits among other things."""

    def __init__(self, output):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Linear(4, 3)
        self.output = OUTPUTS.get(output, output)

    def forward(self, images):
        features = self.features(images)
        return self.output(self.head(features.mean(dim=(-2, -1))), features)


def networks(output="an object"):
    """The same network, with and without other things in its output."""
    made = []
    for kind in (output, "a tensor"):
        torch.manual_seed(0)
        made.append(Talkative(kind))
    return LogitsOf(made[0]), made[1]


@pytest.fixture
def images():
    torch.manual_seed(1)
    return torch.rand(4, 3, 8, 8)


LABELS = torch.tensor([0, 1, 2, 0])


@pytest.mark.parametrize("output", OUTPUTS)
def test_the_logits_are_found(output, images):
    network, plain = networks(output)
    assert torch.equal(network(images), plain(images))


@pytest.mark.parametrize(
    ("part", "output"),
    [
        (1, lambda logits, _: (logits.neg(), logits)),
        (-1, lambda logits, _: [logits.neg(), logits]),
        ("scores", lambda logits, _: {"scores": logits, "logits": logits.neg()}),
        ("scores", lambda logits, _: ModelOutput(scores=logits)),
        (0, OUTPUTS["a tensor"]),
    ],
)
def test_the_part_that_is_named(part, output, images):
    network, plain = LogitsOf(networks(output)[0].network, part), networks()[1]
    assert torch.equal(network(images), plain(images))


@pytest.mark.parametrize(
    ("part", "output", "message"),
    [
        (None, lambda logits, _: (logits, logits), r"got None; the output is tuple of \(4, 3\), \(4, 3\)$"),
        (None, lambda _, features: ModelOutput(maps=features), r"the output is ModelOutput of maps: \(4, 4, 8, 8\)$"),
        (None, lambda _, features: {"logits": features}, r"the output is dict of logits: \(4, 4, 8, 8\)$"),
        (None, lambda *_: (), "the output is tuple of nothing$"),
        (None, lambda *_: None, "the output is NoneType of nothing$"),
        (2, OUTPUTS["a tuple"], r"got 2; the output is tuple of \(4, 4, 8, 8\), \(4, 3\)$"),
        ("scores", OUTPUTS["a tuple"], "got 'scores'"),
        ("scores", OUTPUTS["an object"], r"of logits: \(4, 3\), hidden_states: tuple$"),
    ],
)
def test_an_output_without_logits(part, output, message, images):
    network = LogitsOf(Talkative(output), part)
    with pytest.raises(ValueError, match=rf"`part`: expected .* of \(N, K\) logits in what Talkative .*{message}"):
        network(images)


def test_wrong_arguments():
    with pytest.raises(TypeError, match=r"`network`: expected an nn\.Module"):
        LogitsOf("resnet18")
    for part in (1.5, True, ["logits"]):
        with pytest.raises(TypeError, match="`part`: expected an attribute, a key, a place or None, got"):
            LogitsOf(nn.Identity(), part)


@pytest.mark.parametrize("engine", [DoubleBackprop, FrozenGates])
@pytest.mark.parametrize(
    "make",
    [lambda: None, InterpretableGradient, GradientNorm, MapSparsity, MapConsistency, SaliencyGuided,
     ExpectedGradientsPrior],
)  # fmt: skip
def test_training(make, engine, images):
    gradients = []
    for network in networks():
        torch.manual_seed(2)
        Objective(make(), None, engine())(network, images, LABELS).loss.backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in network.parameters()]))
    assert torch.equal(*gradients)


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"attention_map"}))
def test_methods(name, images):
    maps = []
    for network in networks():
        torch.manual_seed(2)
        maps.append(method_named(name, network.eval(), None)(images[:2], 1))
    assert torch.equal(*maps)


def test_layers_and_heads(images):
    network, plain = networks()
    assert last_spatial_layer(network.eval(), images) == "network.features"
    assert torch.equal(GradCAM(network, "network.features.0")(images), GradCAM(plain.eval(), "features.0")(images))
    assert torch.equal(CAM(network)(images), CAM(plain)(images))
    assert AttentionBranch(network, 3, image_size=8)(images).shape == (4, 3)


def test_evaluate_and_explain(images):
    network, plain = networks()
    settings = {"num_resamples": 20, "num_panel_maps": 0, "progress": False}
    scores = [
        camtrain.evaluate(each, [(images, LABELS)], metrics="average_drop", **settings).to_frame()
        for each in (network, plain)
    ]
    assert scores[0].equals(scores[1])
    maps = [next(iter(camtrain.explain(each, images[:1], progress=False))).map for each in (network, plain)]
    assert torch.equal(*maps)


def test_auxiliary_heads_in_training_mode():
    torch.manual_seed(0)
    network = LogitsOf(GoogLeNet(num_classes=3, init_weights=False, dropout=0.0, dropout_aux=0.0))
    images = torch.rand(2, 3, 32, 32)
    step = Objective(MapSparsity(), 1.0)(network, images, LABELS[:2])
    step.loss.backward()
    assert step.logits.shape == (2, 3)
    missing = {name.split(".")[1] for name, parameter in network.named_parameters() if parameter.grad is None}
    assert missing == {"aux1", "aux2"}


def test_whoever_forgets_it_is_told():
    talkative = Talkative("a tuple")
    images = torch.rand(2, 3, 8, 8)
    for call in (
        lambda: Objective()(talkative, images, LABELS[:2]),
        lambda: Objective(GradientNorm(), 1.0, DoubleBackprop())(talkative, images, LABELS[:2]),
        lambda: GradCAM(talkative, "features")(images),
        lambda: GradCAM(talkative)(images),
        lambda: method_named("taylor_cam", talkative, "features")(images),
        lambda: camtrain.image_maps(talkative, images, "input_gradient"),
        lambda: list(camtrain.explain(talkative, images, progress=False)),
        lambda: AttentionBranch(talkative, 3, image_size=8),
        lambda: checked_logits((1, 2)),
    ):
        with pytest.raises(ValueError, match=r"got tuple; camtrain.networks.LogitsOf\(network\) takes the logits out"):
            call()


def test_a_classifier_with_its_checkpoint(images):
    classifier = Classifier(LogitsOf(CIFARResNet(8, num_classes=3, width=4)), num_classes=3)
    other = Classifier(LogitsOf(CIFARResNet(8, num_classes=3, width=4)), num_classes=3)
    other.load_state_dict(classifier.state_dict())
    assert torch.equal(classifier.eval()(images), other.eval()(images))
