"""The folder of an exported network may come from a stranger."""

from __future__ import annotations

import json
import shutil
import sys
from hashlib import sha256

import pytest
import torch
from safetensors.torch import load_file, save_file

from camtrain import export, load_data, load_network
from tests.exporting.trained import CIFAR, trained
from tests.faults.checkpoints import Code


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    return export(trained(folder / "digits" / "version_0", CIFAR), folder / "out").folder


def _own(**changes):
    return lambda content: content["camtrain"].update(changes)


def _steps(*steps):
    return lambda content: content["camtrain"]["preprocessing"].update(steps=list(steps))


def _pixels(found):
    return lambda content: content["camtrain"]["preprocessing"].update(pixel_format=found)


CHANGES = {
    "not ours": (lambda content: content.pop("camtrain"), "is not of `camtrain export`; pass `name`"),
    "no classes": (lambda content: content.update(num_classes="many"), "expected `num_classes` as a positive integer"),
    "true classes": (lambda content: content.update(num_classes=True), "expected `num_classes` as a positive integer"),
    "other classes": (
        lambda content: content["camtrain"]["network"]["init_args"].update(num_classes=7),
        "cannot make the network of",
    ),
    "names": (lambda content: content.update(label_names=[1, 2]), "expected `label_names` as a list of names"),
    "checksum": (_own(weights_sha256=3), "expected `weights_sha256` as the checksum"),
    "network": (_own(network=["resnet18"]), "expected `network` as a name or a class_path"),
    "code": (_own(network={"class_path": "os.system"}), "of a network of other code, os.system, which is not imported"),
    "code inside": (
        _own(network={"class_path": "torch.nn.Sequential", "init_args": {"modules": ["evil_code.Net"]}}),
        "of other code, evil_code.Net",
    ),
    "own code": (_own(network="evil_code.Net"), "cannot make the network of .*no image classifier is called"),
    "an address": (_own(network="timm:hf-hub:evil/net"), "cannot make the network of .*timm has no model called"),
    "stem": (_own(network="resnet18", stem=["small"]), "cannot make the network of .*`stem`"),
    "no preprocessing": (_own(preprocessing=None), "expected `preprocessing` with `steps`"),
    "std": (
        lambda content: content["camtrain"]["preprocessing"].update(std=[0, 1, 1]),
        "`std`: expected positive, finite",
    ),
    "a step": (_steps({"system": {"size": [3]}}), "expected steps that are resize or center_crop"),
    "two steps": (_steps({"resize": {}, "center_crop": {}}), "expected steps that are resize or center_crop"),
    "no step": (_steps({}), "expected steps that are resize or center_crop"),
    "large": (_steps({"resize": {"size": [10**9], "interpolation": "bilinear"}}), "expected at most 7000 pixels"),
    "negative": (_steps({"center_crop": {"size": [-1]}}), "expected a positive number of pixels"),
    "sizes": (_steps({"center_crop": {"size": [1, 2, 3]}}), "expected the `size` of center_crop as one or two numbers"),
    "channels": (_pixels({"channels": 4}), "`pixel_format`: expected 3 channels, as many as `mean` has, got 4"),
    "pixels": (_pixels({"channels": 3, "reader": "os.system"}), "expected `pixel_format` with channels, pixel_type,"),
    "no pixels": (_pixels([3]), "expected `pixel_format` with channels, pixel_type,"),
    "pixel type": (_pixels({"channels": 3, "pixel_type": ["uint8"]}), "`pixel_type`: expected one of uint8, "),
    "range": (_pixels({"channels": 3, "value_range": 7}), "`value_range`: expected two finite numbers"),
    "shown": (
        lambda content: content["camtrain"]["preprocessing"].update(shown_channels=[5]),
        "`shown_channels`: expected one or three numbers from 0 to 2",
    ),
    "interpolation": (
        _steps({"resize": {"size": [3], "interpolation": "__class__"}}),
        "expected an `interpolation` of",
    ),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_configuration_is_data(kind, good, tmp_path, monkeypatch):
    change, message = CHANGES[kind]
    folder = shutil.copytree(good, tmp_path / "out")
    (tmp_path / "evil_code.py").write_text("raise SystemError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    content = json.loads((folder / "config.json").read_text())
    change(content)
    (folder / "config.json").write_text(json.dumps(content))
    # A configuration above the folder, which is code, does not vouch for anything.
    (tmp_path / "config.yaml").write_text("model: {network: {class_path: evil_code.Net}}")
    with pytest.raises(ValueError, match=message) as caught:
        load_network(folder)
    assert str(caught.value).startswith("`checkpoint`: ")
    assert "evil_code" not in sys.modules


@pytest.mark.parametrize("named", ["", "model.safetensors"])
def test_a_configuration_beside_the_folder_is_not_taken_for_its_own(named, good, tmp_path, monkeypatch):
    folder = shutil.copytree(good, tmp_path / "out")
    (tmp_path / "evil_code.py").write_text("raise SystemError('imported')")
    (tmp_path / "config.yaml").write_text("data: {class_path: evil_code.Data}")
    monkeypatch.syspath_prepend(tmp_path)
    assert load_network(folder / named, device="cpu").num_classes == 10
    with pytest.raises(FileNotFoundError, match="`config`: expected "):
        load_data(folder / named)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "[1]", "null"])
def test_a_configuration_that_is_none(text, good, tmp_path):
    folder = shutil.copytree(good, tmp_path / "out")
    (folder / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"`checkpoint`: .*config.json is damaged: "):
        load_network(folder)


def test_weights_are_those_of_the_configuration_and_no_code(good, tmp_path):
    folder = shutil.copytree(good, tmp_path / "out")
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-3] ^= 4
    weights.write_bytes(data)
    with pytest.raises(ValueError, match=r"damaged or of another export: its checksum is not that in config.json"):
        load_network(folder)

    def of_right_checksum(write):
        write()
        content = json.loads((folder / "config.json").read_text())
        content["camtrain"]["weights_sha256"] = sha256(weights.read_bytes()).hexdigest()
        (folder / "config.json").write_text(json.dumps(content))

    of_right_checksum(lambda: torch.save({"state_dict": Code(tmp_path / "ran")}, weights))
    with pytest.raises(ValueError, match=r"`checkpoint`: .*model.safetensors: "):
        load_network(folder)
    assert not (tmp_path / "ran").exists()
    broken = {**load_file(good / "model.safetensors"), "fc.bias": torch.full((10,), float("nan"))}
    of_right_checksum(lambda: save_file(broken, weights))
    with pytest.raises(ValueError, match=r"has diverged: parameter fc.bias is NaN or infinite"):
        load_network(folder)


def test_an_export_that_was_stopped_can_be_done_again(good, tmp_path, monkeypatch):
    folder = tmp_path / "out"

    def stopped(*_):
        raise KeyboardInterrupt

    module = sys.modules["camtrain.exporting.export"]
    put = module._put
    with monkeypatch.context() as patch:
        patch.setattr(module, "_put", lambda path, text: (put if path.name == "config.json" else stopped)(path, text))
        with pytest.raises(KeyboardInterrupt):
            export(good.parent / "digits" / "version_0", folder)
    with pytest.raises(FileNotFoundError, match="expected a checkpoint or the folder of a run"):
        load_network(folder)
    export(good.parent / "digits" / "version_0", folder)
    assert load_network(folder, device="cpu").num_classes == 10
