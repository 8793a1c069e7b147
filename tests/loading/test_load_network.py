"""Networks from checkpoints, by name and of one's own."""

from __future__ import annotations

import importlib
import sys
import threading
from importlib.util import find_spec
from pathlib import Path
from urllib.error import URLError

import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from torch import nn
from torchvision import models

from camtrain import Classifier, networks
from camtrain.loading import load_network
from camtrain.messages import CamtrainWarning
from camtrain.networks import CIFARResNet, build_network
from camtrain.networks.input_channels import with_input_channels
from camtrain.networks.preprocessing import IMAGENET_MEAN, IMAGENET_STD
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
    with pytest.warns(CamtrainWarning, match="cifar_resnet8 has random weights"):
        loaded = load_network(name="cifar_resnet8")
    assert isinstance(loaded.network, CIFARResNet)
    assert not loaded.network.training
    assert loaded.title == "cifar_resnet8, random weights"
    assert loaded.remarks == [
        "cifar_resnet8 has random weights, so that its maps mean nothing; pass `weights` or `checkpoint`"
    ]
    assert loaded.input(Image.new("RGB", (50, 60))).shape == (1, 3, 32, 32)


@pytest.mark.parametrize("name", ["own_networks.Net", "own_networks.made"])
def test_a_network_of_ones_own(own_code, name):
    loaded = load_network(name=name, size=8)
    assert not loaded.network.training
    # What is assumed about images is said where photographs are prepared, not here.
    assert loaded.remarks == []
    (remark,) = loaded.preprocessing.remarks
    assert "ImageNet's mean and std are assumed" in remark
    given = load_network(name=name, size=8, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    assert given.preprocessing.remarks == ()
    assert load_network(name=name).input(Image.new("RGB", (50, 60))).shape == (1, 3, 224, 224)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ValueError, "`checkpoint`: expected a checkpoint, or `name`"),
        ({"name": "resnet81"}, ValueError, "`name`: no image classifier is called 'resnet81'; did you mean"),
        ({"name": "resnet18", "weights": "V7"}, ValueError, "`weights`: 'resnet18' has none called 'V7'"),
        ({"name": "no_such_module.Net"}, ValueError, "`name`: cannot import 'no_such_module.Net'"),
        ({"name": "own_networks.Nett"}, ValueError, "cannot import 'own_networks.Nett': .* no attribute 'Nett'"),
        (
            {"name": "own_networks.nothing"},
            TypeError,
            "expected that 'own_networks.nothing' makes a network, got int",
        ),
        ({"name": "own_networks.Net", "weights": "DEFAULT"}, ValueError, "`weights`: 'own_networks.Net' makes a"),
        ({"name": "own_networks.Net", "device": "abacus"}, ValueError, "`device`: cannot use 'abacus'"),
        ({"name": "own_networks.Net", "size": 0}, ValueError, "`size`: expected a positive number of pixels, got 0"),
        ({"network": nn.Identity()}, ValueError, "`network`: expected a checkpoint with the weights of the network"),
        ({"checkpoint": "."}, FileNotFoundError, "`checkpoint`: expected a checkpoint or the folder of a run, got ."),
        ({"checkpoint": Path("absent.ckpt")}, FileNotFoundError, "`checkpoint`: no such file: absent.ckpt"),
        ({"checkpoint": Path("absent.ckpt"), "weights": "DEFAULT"}, ValueError, "`weights`: expected none beside"),
    ],
)
def test_what_is_wrong_is_named(own_code, options, error, message):
    with pytest.raises(error, match=message):
        load_network(**options)


@pytest.mark.usefixtures("own_code")
def test_two_checkpoints_of_a_network_by_one_name_do_not_share_it(tmp_path):
    found = []
    for value in (1.0, 2.0):
        network = importlib.import_module("own_networks").Net()
        nn.init.constant_(network[-1].bias, value)
        path = saved(Classifier(network, num_classes=3), tmp_path / f"{value:g}.ckpt")
        given = {"mean": (0, 0, 0), "std": (1, 1, 1), "size": 8, "device": "cpu"}
        found.append(load_network(path, name="own_networks.made", **given).network)
    assert [network[-1].bias[0].item() for network in found] == [1, 2]


@pytest.mark.usefixtures("own_code")
def test_a_network_that_cannot_be_copied_is_named(monkeypatch):
    made = importlib.import_module("own_networks").made
    monkeypatch.setattr(made, "lock", threading.Lock(), raising=False)
    with pytest.raises(ValueError, match=r"`name`: own_networks\.made is a network that cannot be copied .*; pass a"):
        load_network(name="own_networks.made")


def test_the_images_of_a_vision_transformer_may_have_other_channels(tmp_path):
    """Its weights say how large its images are, which random weights are not made for."""
    network = with_input_channels(models.get_model("vit_b_32", num_classes=2, image_size=64), 4)
    init_args = {"name": "vit_b_32", "num_classes": 2, "in_channels": 4, "weights": "IMAGENET1K_V1"}
    content = {
        "pytorch-lightning_version": "2.5.0",
        "hyper_parameters": {
            "num_classes": 2, "network": {"class_path": "camtrain.networks.build_network", "init_args": init_args}
        },
        "state_dict": {f"network.{name}": value for name, value in network.state_dict().items()},
    }  # fmt: skip
    torch.save(content, tmp_path / "a.ckpt")
    numbers = (0.5,) * 4
    loaded = load_network(tmp_path / "a.ckpt", mean=numbers, std=numbers, size=64, device="cpu")
    assert torch.equal(loaded.network.conv_proj.weight, network.conv_proj.weight)


def test_weights_that_cannot_be_downloaded_are_named(monkeypatch):
    def offline(*_args, **_options):
        raise URLError("no route")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(OSError, match="`weights`: cannot get 'DEFAULT' of squeezenet1_1: <urlopen error no route>"):
        load_network(name="squeezenet1_1", weights="DEFAULT")


def test_without_timm(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match=r"needs timm; pip install 'camtrain\[timm\]'"):
        load_network(name="timm:resnet18")


@pytest.mark.skipif(find_spec("timm") is None, reason="timm is an extra")
def test_a_network_of_timm():
    with pytest.warns(CamtrainWarning, match="timm:test_resnet has random weights"):
        loaded = load_network(name="timm:test_resnet")
    assert loaded.input(Image.new("RGB", (50, 60))).shape == (1, 3, 160, 160)


def test_a_checkpoint_of_a_named_network_built_in_python(tmp_path):
    classifier = Classifier("cifar_resnet8", num_classes=4, regularizer=InterpretableGradient())
    loaded = load_network(saved(classifier, tmp_path / "a.ckpt"))
    assert all(
        torch.equal(a, b) for a, b in zip(classifier.network.parameters(), loaded.network.parameters(), strict=True)
    )
    assert not loaded.network.training
    assert ["ImageNet's mean and std are assumed" in remark for remark in loaded.preprocessing.remarks] == [True]


def test_a_checkpoint_of_a_network_built_in_python(tmp_path, own_code):
    import own_networks

    classifier = Classifier(own_networks.Net(), num_classes=3)
    path = saved(classifier, tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match="is of a network that was built in Python, which is not in it; pass its netw"):
        load_network(path)
    loaded = load_network(path, name="own_networks.Net")
    assert torch.equal(loaded.network[0].weight, classifier.network[0].weight)
    given = load_network(path, network=own_networks.Net())
    assert torch.equal(given.network[0].weight, classifier.network[0].weight)
    with pytest.raises(ValueError, match="`network`: expected none beside `name`, got Net"):
        load_network(path, name="own_networks.Net", network=own_networks.Net())
    with pytest.raises(ValueError, match=r"cannot make the network of .*a\.ckpt: Error.*in loading state_dict"):
        load_network(path, name="cifar_resnet8")


def test_of_a_checkpoint_all_weights_of_the_network_and_nothing_else_are_needed(tmp_path):
    classifier = Classifier("cifar_resnet8", num_classes=4)
    path = saved(classifier, tmp_path / "a.ckpt")
    content = torch.load(path, weights_only=True)
    state = content["state_dict"]
    others = [key for key in state if not key.startswith("network.")]
    content["state_dict"] = {key: value for key, value in state.items() if key not in others} | {"old": torch.ones(1)}
    torch.save(content, path)
    assert torch.equal(load_network(path).network.fc.weight, classifier.network.fc.weight)
    del content["state_dict"]["network.fc.weight"]
    torch.save(content, path)
    with pytest.raises(
        ValueError, match=r'cannot make the network of [^$]*Missing key\(s\) in state_dict: "fc.weight"'
    ):
        load_network(path)


def test_a_network_beside_a_checkpoint_that_has_one(tmp_path):
    path = saved(Classifier("cifar_resnet8", num_classes=4), tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match=r"`name`: expected none beside .*, which says what its network is"):
        load_network(path, name="resnet18")


def test_pretrained_weights_are_not_loaded_to_be_overwritten(tmp_path, monkeypatch):
    monkeypatch.setattr("camtrain.classifier.build_network", lambda *_args, **_options: CIFARResNet(8, 4))
    path = saved(Classifier("resnet18", num_classes=4, weights="DEFAULT"), tmp_path / "a.ckpt")
    asked = []
    monkeypatch.setattr(
        "camtrain.classifier.build_network", lambda *_args, **options: asked.append(options) or CIFARResNet(8, 4)
    )
    load_network(path)
    assert [options["weights"] for options in asked] == [None]


@pytest.mark.parametrize("weights", ["DEFAULT", "gone.safetensors"])
@pytest.mark.parametrize("num_classes", [{}, {"num_classes": 4}])
def test_nor_those_that_a_configuration_names(tmp_path, weights, num_classes):
    """There is no network connection and no such file here, and the weights are in the checkpoint."""
    network = build_network("resnet18", 4, stem="imagenet")
    made = {"name": "resnet18", "weights": weights, **num_classes}
    content = {
        "pytorch-lightning_version": "2.5.0",
        "hyper_parameters": {
            "num_classes": 4,
            "network": {"class_path": "camtrain.networks.build_network", "init_args": made},
        },
        "state_dict": {f"network.{name}": value for name, value in network.state_dict().items()},
    }
    torch.save(content, tmp_path / "a.ckpt")
    loaded = load_network(tmp_path / "a.ckpt", mean=(0, 0, 0), std=(1, 1, 1), size=32, device="cpu")
    assert torch.equal(loaded.network.fc.weight, network.fc.weight)


@pytest.mark.parametrize(
    ("kind", "weights", "is_built"),
    [("AttentionBranch", "DEFAULT", True), ("CAStream", "gone.safetensors", False), ("LFICAM", "DEFAULT", False)],
)
def test_nor_those_of_a_network_inside_another(tmp_path, kind, weights, is_built):
    network = getattr(networks, kind)("cifar_resnet8", num_classes=4)
    built = {"name": "cifar_resnet8", "weights": weights}
    backbone = {"class_path": "camtrain.networks.build_network", "init_args": built}
    of_backbone = {"backbone": backbone} if is_built else {"backbone": "cifar_resnet8", "weights": weights}
    described = {"class_path": f"camtrain.networks.{kind}", "init_args": {**of_backbone, "num_classes": 4}}
    content = {
        "pytorch-lightning_version": "2.5.0",
        "hyper_parameters": {"num_classes": 4, "network": described},
        "state_dict": {f"network.{name}": value for name, value in network.state_dict().items()},
    }
    torch.save(content, tmp_path / "a.ckpt")
    loaded = load_network(tmp_path / "a.ckpt", mean=(0, 0, 0), std=(1, 1, 1), size=32, device="cpu")
    found = loaded.network.state_dict()
    assert all(torch.equal(value, found[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None, {"state_dict": {}}, {"hyper_parameters": {"lr": 1}}])
def test_other_files_are_no_checkpoints(tmp_path, content):
    path = tmp_path / "a.ckpt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    message = "cannot read .* as a checkpoint" if isinstance(content, bytes) else "not a checkpoint of camtrain's"
    with pytest.raises(ValueError, match=f"`checkpoint`: .*{message}"):
        load_network(path)


def test_random_weights_follow_the_seed_and_leave_the_generator_alone():
    state = torch.get_rng_state()

    def weights(**seed):
        with pytest.warns(CamtrainWarning, match="random weights"):
            return load_network(name="cifar_resnet8", device="cpu", **seed).network.conv1.weight

    assert torch.equal(weights(seed=3), weights(seed=3))
    assert torch.equal(weights(), weights(seed=0))
    assert not torch.equal(weights(seed=3), weights(seed=4))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A run's folder as `camtrain fit` leaves it: `best.ckpt` was tested, `last.ckpt` came later."""
    run = tmp_path_factory.mktemp("runs") / "digits" / "version_0"
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.yaml").write_text(
        "data: {class_path: camtrain.data.DecoyDigits, init_args: {mean: [0.3, 0.2, 0.1]}}"
    )
    for name in ("best", "last"):
        path = saved(Classifier("cifar_resnet8", num_classes=10), run / "checkpoints" / f"{name}.ckpt")
    content = torch.load(path, weights_only=True)
    best = {"monitor": "val/accuracy", "best_model_path": "/elsewhere/checkpoints/best.ckpt"}
    torch.save(content | {"callbacks": {"ModelCheckpoint": best}}, path)
    return run


def test_a_folder_of_a_run_means_its_best_checkpoint(run_folder):
    best = load_network(run_folder / "checkpoints" / "best.ckpt")
    last = load_network(run_folder / "checkpoints" / "last.ckpt")
    assert not torch.equal(best.network.conv1.weight, last.network.conv1.weight)
    for folder in (run_folder, run_folder / "checkpoints", run_folder.parent):
        found = load_network(folder)
        assert found.title == str(run_folder / "checkpoints" / "best.ckpt")
        assert torch.equal(found.network.conv1.weight, best.network.conv1.weight)
        assert tuple(found.preprocessing.mean) == (0.3, 0.2, 0.1)
        assert found.class_names == [str(digit) for digit in range(10)]
        assert found.num_classes == 10
        assert found.input(Image.new("RGB", (80, 90))).shape == (1, 3, 64, 64)


def test_the_newest_of_several_versions_is_taken_and_a_run_without_a_best_checkpoint_has_its_last(tmp_path, run_folder):
    for number in (2, 10):
        saved(Classifier("cifar_resnet8", num_classes=number), tmp_path / f"version_{number}" / "checkpoints/last.ckpt")
    assert load_network(tmp_path).num_classes == 10
    # A file that says nothing about how it was saved.
    content = torch.load(run_folder / "checkpoints" / "best.ckpt", weights_only=True)
    content.pop("callbacks", None)
    (tmp_path / "version_11" / "checkpoints").mkdir(parents=True)
    torch.save(content, tmp_path / "version_11/checkpoints/last.ckpt")
    assert load_network(tmp_path).title.endswith("version_11/checkpoints/last.ckpt")


def test_a_folder_whose_last_checkpoint_is_damaged_is_named(tmp_path):
    (tmp_path / "last.ckpt").write_bytes(b"no checkpoint")
    with pytest.raises(ValueError, match=r"`checkpoint`: cannot read .*last\.ckpt as a checkpoint"):
        load_network(tmp_path)


def test_a_configuration_in_the_place_of_the_run_s_own(tmp_path, run_folder):
    moved = tmp_path / "moved.ckpt"
    moved.write_bytes((run_folder / "checkpoints" / "best.ckpt").read_bytes())
    assert load_network(moved).preprocessing.assumed
    for config in (run_folder / "config.yaml", str(run_folder), run_folder / "checkpoints" / "best.ckpt"):
        loaded = load_network(moved, config=config)
        assert (tuple(loaded.preprocessing.mean), loaded.preprocessing.assumed) == ((0.3, 0.2, 0.1), False)
    given = load_network(run_folder, size=48, mean=(0, 0, 0), std=(1, 1, 1))
    assert given.input(Image.new("RGB", (80, 90))).shape == (1, 3, 48, 48)
    assert (given.preprocessing.mean, given.preprocessing.std) == ((0, 0, 0), (1, 1, 1))
