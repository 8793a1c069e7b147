"""Networks from checkpoints, by name and of one's own."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from urllib.error import URLError

import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from torch import nn

from camtrain import Classifier
from camtrain.cli.preprocessing import Override, Preprocessing
from camtrain.cli.ready_network import ReadyNetwork, ready_network
from camtrain.data.image_data_module import IMAGENET_MEAN, IMAGENET_STD
from camtrain.networks import CIFARResNet
from camtrain.regularizers import InterpretableGradient

OWN = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self, classes=3):
        super().__init__(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes))

made = Net()
nothing = lambda: 3
"""


@pytest.fixture
def own_code(tmp_path, monkeypatch):
    """A module `own_networks` that can be imported."""
    (tmp_path / "own_networks.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("own_networks", None)


def saved(classifier: Classifier, path: Path) -> Path:
    trainer = pl.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", enable_progress_bar=False)
    trainer.strategy.connect(classifier)
    trainer.save_checkpoint(path)
    return path


def test_a_random_network_says_so():
    ready = ready_network(network="cifar_resnet8")
    assert isinstance(ready.network, CIFARResNet)
    assert not ready.network.training
    assert ready.title == "cifar_resnet8, random weights"
    assert ready.remarks == [
        "cifar_resnet8 has random weights, so that its maps mean nothing; pass --weights DEFAULT or --checkpoint"
    ]
    assert ready.input(Image.new("RGB", (50, 60))).shape == (1, 3, 32, 32)


@pytest.mark.parametrize("name", ["own_networks.Net", "own_networks.made"])
def test_a_network_of_ones_own(own_code, name):
    ready = ready_network(network=name, override=Override(size=8))
    assert not ready.network.training
    (remark,) = ready.remarks
    assert "ImageNet's mean and std are assumed" in remark
    assert ready_network(network=name, override=Override(8, IMAGENET_MEAN, IMAGENET_STD)).remarks == []
    assert ready_network(network=name).input(Image.new("RGB", (50, 60))).shape == (1, 3, 224, 224)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ValueError, "expected --checkpoint, or --network"),
        ({"network": "resnet81"}, ValueError, "`network`: no image classifier is called 'resnet81'; did you mean"),
        ({"network": "resnet18", "weights": "V7"}, ValueError, "`weights`: 'resnet18' has none called 'V7'"),
        ({"network": "no_such_module.Net"}, ValueError, "`--network`: can not import 'no_such_module.Net'"),
        ({"network": "own_networks.Nett"}, ValueError, "can not import 'own_networks.Nett': .* no attribute 'Nett'"),
        (
            {"network": "own_networks.nothing"},
            TypeError,
            "expected that 'own_networks.nothing' makes a network, got int",
        ),
        ({"network": "own_networks.Net", "weights": "DEFAULT"}, ValueError, "`--weights`: 'own_networks.Net' makes a"),
        ({"checkpoint": Path("absent.ckpt")}, FileNotFoundError, "`--checkpoint`: no such file: absent.ckpt"),
        ({"checkpoint": Path("absent.ckpt"), "weights": "DEFAULT"}, ValueError, "`--weights`: expected none beside"),
    ],
)
def test_what_is_wrong_is_named(own_code, options, error, message):
    with pytest.raises(error, match=message):
        ready_network(**options)


def test_weights_that_can_not_be_downloaded_are_named(monkeypatch):
    def offline(*_args, **_options):
        raise URLError("no route")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(OSError, match="`--weights`: can not get 'DEFAULT' of squeezenet1_1: <urlopen error no route>"):
        ready_network(network="squeezenet1_1", weights="DEFAULT")


def test_without_timm(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match=r"needs timm; pip install 'camtrain\[timm\]'"):
        ready_network(network="timm:resnet18")


@pytest.mark.skipif(find_spec("timm") is None, reason="timm is an extra")
def test_a_network_of_timm():
    ready = ready_network(network="timm:test_resnet")
    assert ready.input(Image.new("RGB", (50, 60))).shape == (1, 3, 160, 160)
    assert "timm:test_resnet has random weights" in ready.remarks[0]


def test_a_checkpoint_of_a_named_network_built_in_python(tmp_path):
    classifier = Classifier("cifar_resnet8", num_classes=4, regularizer=InterpretableGradient())
    ready = ready_network(saved(classifier, tmp_path / "a.ckpt"))
    assert all(
        torch.equal(a, b) for a, b in zip(classifier.network.parameters(), ready.network.parameters(), strict=True)
    )
    assert not ready.network.training
    assert ["ImageNet's mean and std are assumed" in remark for remark in ready.remarks] == [True]


def test_a_checkpoint_of_a_network_built_in_python(tmp_path, own_code):
    import own_networks

    classifier = Classifier(own_networks.Net(), num_classes=3)
    path = saved(classifier, tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match="is of a network that was built in Python, which is not in it; pass its netw"):
        ready_network(path)
    ready = ready_network(path, "own_networks.Net")
    assert torch.equal(ready.network[0].weight, classifier.network[0].weight)
    with pytest.raises(ValueError, match=r"can not make the network of .*a\.ckpt: Error.*in loading state_dict"):
        ready_network(path, "cifar_resnet8")


def test_of_a_checkpoint_all_weights_of_the_network_and_nothing_else_are_needed(tmp_path):
    classifier = Classifier("cifar_resnet8", num_classes=4)
    path = saved(classifier, tmp_path / "a.ckpt")
    content = torch.load(path, weights_only=True)
    state = content["state_dict"]
    others = [key for key in state if not key.startswith("network.")]
    content["state_dict"] = {key: value for key, value in state.items() if key not in others} | {"old": torch.ones(1)}
    torch.save(content, path)
    assert torch.equal(ready_network(path).network.fc.weight, classifier.network.fc.weight)
    del content["state_dict"]["network.fc.weight"]
    torch.save(content, path)
    with pytest.raises(
        ValueError, match=r'can not make the network of [^$]*Missing key\(s\) in state_dict: "fc.weight"'
    ):
        ready_network(path)


def test_a_network_beside_a_checkpoint_that_has_one(tmp_path):
    path = saved(Classifier("cifar_resnet8", num_classes=4), tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match=r"`--network`: expected none beside .*, which says what its network is"):
        ready_network(path, "resnet18")


def test_pretrained_weights_are_not_loaded_to_be_overwritten(tmp_path, monkeypatch):
    monkeypatch.setattr("camtrain.classifier.build_network", lambda *_args, **_options: CIFARResNet(8, 4))
    path = saved(Classifier("resnet18", num_classes=4, weights="DEFAULT"), tmp_path / "a.ckpt")
    asked = []
    monkeypatch.setattr(
        "camtrain.classifier.build_network", lambda *_args, **options: asked.append(options) or CIFARResNet(8, 4)
    )
    ready_network(path)
    assert [options["weights"] for options in asked] == [None]


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None, {"state_dict": {}}, {"hyper_parameters": {"lr": 1}}])
def test_other_files_are_no_checkpoints(tmp_path, content):
    path = tmp_path / "a.ckpt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    message = "can not read .* as a checkpoint" if isinstance(content, bytes) else "not a checkpoint of camtrain's"
    with pytest.raises(ValueError, match=f"`--checkpoint`: .*{message}"):
        ready_network(path)


def ready(network: nn.Module, class_names=None) -> ReadyNetwork:
    preprocessing = Preprocessing(lambda photo: torch.zeros(3, 6, 8), (0, 0, 0), (1, 1, 1), class_names)
    return ReadyNetwork(network, "it", preprocessing, [], torch.device("cpu"))


def test_class_names_that_do_not_fit_are_left_out():
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    moved, classes = ready(network, ["a", "b"]).ready_on(torch.device("cpu"))
    assert classes == 3
    assert moved.class_names is None
    assert moved.remarks == ["2 class names for 3 classes: they are left out"]
    moved, _ = ready(network, ["a", "b", "c"]).ready_on(torch.device("cpu"))
    assert (moved.class_names, moved.remarks) == (["a", "b", "c"], [])


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nn.Linear(7, 2), "it can not be run on images of 6×8 pixels, --size chooses another: mat1"),
        (nn.Identity(), r"it: expected \(1, K\) logits of one image, got \(1, 3, 6, 8\)"),
    ],
)
def test_networks_that_are_no_classifiers_of_these_images(network, message):
    with pytest.raises(ValueError, match=message):
        ready(network).ready_on(torch.device("cpu"))


def test_a_device_that_is_not_there():
    network = nn.Linear(1, 1)
    with pytest.raises(ValueError, match="`--device`: can not use 'cuda:99'"):
        ready(network).ready_on(torch.device("cuda:99"))
