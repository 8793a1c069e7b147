"""Exported folders: read by other libraries and by camtrain, to the same logits."""

from __future__ import annotations

import json
import re
import sys

import numpy as np
import pytest
import pytorch_lightning as pl
import timm
import torch
import yaml
from huggingface_hub import constants
from PIL import Image
from safetensors.torch import load_file
from torchvision import models
from torchvision.models import get_model
from torchvision.models._api import WeightsEnum
from torchvision.transforms import v2
from torchvision.transforms.functional import to_tensor

from camtrain import CamtrainWarning, Classifier, explain, export, load_network
from camtrain.cli import main
from camtrain.data import DecoyDigits
from camtrain.exporting.configuration import configuration
from camtrain.exporting.library import building_code
from camtrain.loading.preprocessing_steps import described_preprocessing
from camtrain.networks import AdaptedNetwork, AttentionBranch, CIFARResNet, LogitsOf, build_network
from camtrain.networks.preprocessing import transform_preprocessing
from camtrain.pixel_format import PixelFormat
from tests.exporting.hub_server import hub_on_this_machine
from tests.exporting.trained import CIFAR, NETWORKS, evaluated, photograph, trained
from tests.small_networks import tiny


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The folder of a run and that of its export, by the kind of the network."""
    folders = {}
    for kind, described in NETWORKS.items():
        folder = tmp_path_factory.mktemp(kind)
        run = trained(folder / "digits" / "version_0", described)
        folders[kind] = run, export(run, folder / "out").folder
    return folders


def logits_of(run, path):
    loaded = load_network(run, device="cpu")
    with torch.no_grad():
        return loaded.network(loaded.input(photograph(path)))


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_code_of_the_card_computes_the_same_without_camtrain(kind, exported, monkeypatch):
    run, folder = exported[kind]
    expected = logits_of(run, folder / "photograph.jpg")
    _, code = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    assert "camtrain" not in code
    monkeypatch.chdir(folder)
    done = {}
    exec(code, done)
    torch.testing.assert_close(done["logits"], expected, rtol=0, atol=1e-6)


def test_torchvision_and_timm_load_the_folder(exported):
    images = torch.randn(2, 3, 48, 48)
    run, folder = exported["torchvision"]
    network = get_model("mobilenet_v3_small", num_classes=10)
    network.load_state_dict(load_file(folder / "model.safetensors"))
    torch.testing.assert_close(network.eval()(images), load_network(run, device="cpu").network(images))
    run, folder = exported["timm"]
    network = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    torch.testing.assert_close(network(images), load_network(run, device="cpu").network(images))
    config = timm.data.resolve_model_data_config(network)
    assert (config["input_size"], config["crop_pct"], config["crop_mode"]) == ([3, 48, 48], 1.0, "center")
    assert tuple(config["mean"]) == tuple(load_network(run, device="cpu").preprocessing.mean)
    assert network.pretrained_cfg["label_names"] == [str(digit) for digit in range(10)]


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("named", ["", "model.safetensors"])
def test_camtrain_loads_the_folder(kind, named, exported):
    run, folder = exported[kind]
    loaded, again = load_network(run, device="cpu"), load_network(folder / named, device="cpu")
    image = photograph(folder / "photograph.jpg")
    torch.testing.assert_close(again.input(image), loaded.input(image), rtol=0, atol=0)
    torch.testing.assert_close(again.network(again.input(image)), loaded.network(loaded.input(image)))
    assert again.class_names == [str(digit) for digit in range(10)]
    assert load_network(folder, size=32, device="cpu").input(image).shape == (1, 3, 32, 32)


def test_what_was_said_of_labels_and_normalization_is_kept(tmp_path):
    run = trained(tmp_path / "digits" / "version_0", CIFAR)
    content = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    torch.save({**content, "several_labels": True}, run / "checkpoints" / "last.ckpt")
    (run / "config.yaml").unlink()
    with pytest.warns(CamtrainWarning, match="ImageNet's mean and std are assumed"):
        export(run, tmp_path / "out", no_pictures=True)
    loaded = load_network(tmp_path / "out", device="cpu")
    assert loaded.several_labels
    assert "ImageNet's mean and std are assumed" in loaded.preprocessing.remarks[0]
    assert loaded.class_names is None
    card = (tmp_path / "out" / "README.md").read_text()
    assert "Data: not known." in card
    assert not (tmp_path / "out" / "training.yaml").exists()


PIXELS = {
    "gray": {"channels": 1},
    "tiles": {"channels": 4, "pixel_type": "uint16", "value_range": [0, 10000], "shown_channels": [3, 1, 0]},
    "sixteen_bits": {"channels": 3, "pixel_type": "uint16", "value_range": [0, 65535], "channels_first": True},
}


@pytest.mark.parametrize("kind", PIXELS)
def test_what_image_files_hold_is_kept(kind, tmp_path):
    pixels = PIXELS[kind]
    channels = pixels["channels"]
    network = {"class_path": CIFAR["class_path"], "init_args": {**CIFAR["init_args"], "in_channels": channels}}
    run = trained(tmp_path / "digits" / "version_0", network, num_classes=2)
    config = yaml.safe_load((run / "config.yaml").read_text())
    settings = {"root": str(tmp_path / "images"), "image_size": 12, **pixels}
    config["data"] = {"class_path": "camtrain.data.ImageFolderData", "init_args": settings}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    for name in ("dry", "wet"):
        path = tmp_path / "images" / name / "0.npy"
        path.parent.mkdir(parents=True)
        shape = (channels, 12, 12) if pixels.get("channels_first") else (12, 12, channels)
        stored = np.random.default_rng(0).integers(0, 200, shape).astype(pixels.get("pixel_type", "uint8"))
        np.save(path, stored)
    folder = export(run, tmp_path / "out", onnx=kind == "gray").folder

    expected, found = (load_network(each, device="cpu") for each in (run, folder))
    assert found.preprocessing.pixel_format == expected.preprocessing.pixel_format
    one, other = (explain(each, path, progress=False)[0] for each in (expected, found))
    torch.testing.assert_close(other.picture, one.picture, rtol=0, atol=0)
    torch.testing.assert_close(other.map, one.map)
    card = (folder / "README.md").read_text()
    assert f"Image files have {PixelFormat(**{k: v for k, v in pixels.items() if k != 'shown_channels'}).title}" in card
    assert ("`model.onnx` takes `images`, (N, 1, H, W), prepared" in card) == (kind == "gray")
    assert "Without camtrain" not in card
    assert not (folder / "preprocessor_config.json").exists()


def test_a_network_of_ones_own_is_named_by_who_loads_it(tmp_path):
    run = trained(tmp_path / "own" / "version_0", None, num_classes=3, network=tiny(), regularizer_weight=None)
    (run / "config.yaml").unlink()
    images = {"size": 16, "mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2)}
    folder = export(run, tmp_path / "out", network=tiny(), **images).folder
    assert 'name="my_code.my_network"' in (folder / "README.md").read_text()
    with pytest.raises(ValueError, match="is of a network that was built in Python"):
        load_network(folder)
    loaded = load_network(folder, network=tiny(), device="cpu")
    assert loaded.num_classes == 3
    named = load_network(folder, name="tests.small_networks.tiny")
    images = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(named.network.cpu()(images), loaded.network(images))


def test_the_file_that_a_training_began_with_is_not_published(tmp_path):
    arguments = {"backbone": "cifar_resnet8", "num_classes": 10, "weights": "/home/ann/resnet8.safetensors"}
    described = {"class_path": "camtrain.networks.AttentionBranch", "init_args": arguments}
    run = trained(tmp_path / "run" / "version_0", described, 10, AttentionBranch("cifar_resnet8", 10))
    folder = export(run, tmp_path / "out").folder
    assert json.loads((folder / "config.json").read_text())["camtrain"]["network"]["init_args"]["weights"] is None
    assert not [path.name for path in folder.iterdir() if b"/home/ann" in path.read_bytes()]
    loaded = load_network(folder, device="cpu").network.state_dict()
    expected = load_network(run, device="cpu").network.state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in expected.items())


@pytest.mark.parametrize("around", [LogitsOf, AdaptedNetwork])
def test_a_network_inside_another_keeps_its_names(around, tmp_path):
    """Its weights begin with `network.`, as those of any network in a checkpoint do."""
    run = trained(tmp_path / "own" / "version_0", None, num_classes=3, network=around(tiny()))
    images = {"size": 16, "mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2), "device": "cpu"}
    (run / "config.yaml").unlink()
    expected = load_network(run, network=around(tiny()), **images).network(torch.ones(1, 3, 16, 16))
    del images["device"]
    folder = export(run, tmp_path / "out", network=around(tiny()), **images).folder
    loaded = load_network(folder, network=around(tiny()), device="cpu")
    assert torch.equal(loaded.network(torch.ones(1, 3, 16, 16)), expected)


@pytest.mark.parametrize(
    ("scaled", "crop"),
    [
        ((256, 256), (224, 224)),
        ((49, 49), (48, 48)),
        ((50, 50), (34, 34)),  # 34 / (34 / 50) is less than 50
        ((64, 96), (48, 72)),
        ((48, 64), (48, 64)),
    ],
)
def test_timm_squashes_and_crops_photographs_as_camtrain_does(scaled, crop, tmp_path):
    resize = {"size": list(scaled), "interpolation": "bilinear", "antialias": True}
    numbers = {"mean": [0.5] * 3, "std": [0.25] * 3}
    described = {"steps": [{"resize": resize}, {"center_crop": {"size": list(crop)}}], **numbers}
    settings = {"num_classes": 3, "network": "timm:test_resnet"}
    network = timm.create_model("test_resnet", num_classes=3)
    config = configuration(network, settings, described, crop, None, False, "")["pretrained_cfg"]
    transform = timm.data.create_transform(**timm.data.resolve_data_config(pretrained_cfg=config))

    image = photograph(tmp_path / "photograph.jpg")
    top, left = (round((whole - kept) / 2) for whole, kept in zip(scaled, crop, strict=True))
    squashed = image.resize(scaled[::-1], Image.Resampling.BILINEAR)
    expected = to_tensor(squashed.crop((left, top, left + crop[1], top + crop[0])))
    torch.testing.assert_close(transform(image), (expected - 0.5) / 0.25)


class SmallTransformer(models.VisionTransformer):
    """A vision transformer with few weights, but for images of any size."""

    def __init__(self, image_size, patch_size, num_layers, num_heads, hidden_dim, mlp_dim, **options):
        super().__init__(image_size, patch_size, 1, 2, 8, 8, **options)


@pytest.mark.parametrize(
    ("name", "weights", "side"),
    [
        ("vit_b_16", "IMAGENET1K_SWAG_E2E_V1", 384),
        ("vit_l_16", "IMAGENET1K_SWAG_E2E_V1", 512),
        ("vit_h_14", "DEFAULT", 518),
        ("vit_b_16", None, 224),
    ],
)
def test_a_vision_transformer_keeps_the_size_of_its_published_weights(name, weights, side, tmp_path, monkeypatch):
    def published(given, *_args, **_options):
        patch = 14 if name == "vit_h_14" else 16
        return SmallTransformer(given.meta["min_size"][0], patch, 1, 2, 8, 8, num_classes=1000).state_dict()

    monkeypatch.setattr(models.vision_transformer, "VisionTransformer", SmallTransformer)
    monkeypatch.setattr(WeightsEnum, "get_state_dict", published)
    classifier = Classifier(name, 3, weights=weights)
    monkeypatch.delattr(WeightsEnum, "get_state_dict")  # what comes now needs no published weights
    torch.nn.init.normal_(classifier.network.heads.head.weight)  # torchvision's is zero
    path = tmp_path / "digits" / "version_0" / "checkpoints" / "last.ckpt"
    trainer = pl.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", enable_progress_bar=False)
    trainer.strategy.connect(classifier)
    trainer.save_checkpoint(path)

    images = torch.rand(1, 3, side, side)
    expected = classifier.network.eval()(images)
    numbers = {"size": side, "mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2)}
    assert torch.equal(load_network(path, **numbers, device="cpu").network(images), expected)
    folder = export(path, tmp_path / "out", **numbers).folder
    assert torch.equal(load_network(folder, device="cpu").network(images), expected)
    shown = logits_of(folder, folder / "photograph.jpg")
    _, code = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(folder)
    done = {}
    exec(code, done)
    torch.testing.assert_close(done["logits"], shown, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_the_code_of_the_card_changes_the_normalization_as_the_network_does(name):
    """No state dict says that a network of torchvision does so."""
    network, done = build_network(name, 3), {}
    exec(building_code(network, name, "imagenet", 3, "local-dir:."), done)
    done["network"].load_state_dict(network.state_dict())
    assert done["network"].transform_input
    assert network.transform_input


def test_commands_take_the_folder(exported, tmp_path, monkeypatch, capsys):
    run, folder = exported["cifar"]
    monkeypatch.chdir(tmp_path)
    photograph(tmp_path / "photograph.jpg")
    main(["explain", "--checkpoint", str(folder), "--images", "photograph.jpg", "--out", "explained"])
    assert (tmp_path / "explained" / "photograph.jpg.grad_cam.png").is_file() or list(
        (tmp_path / "explained").iterdir()
    )
    words = ["evaluate", "--checkpoint", str(folder), "--metrics", "average_drop", "--num_images", "4", "--out", "ev"]
    with pytest.raises(SystemExit, match="2"):
        main(words)
    assert "the exported folder" in capsys.readouterr().err
    main([*words, "--config", str(run / "config.yaml"), "--panels", "0"])
    mean = json.loads((tmp_path / "ev" / "scores.json").read_text())["settings"]["normalization"]["mean"]
    assert mean == pytest.approx(load_network(folder, device="cpu").preprocessing.mean, abs=1e-4)


def test_the_card_says_how_it_was_trained_and_how_well_it_does(tmp_path):
    run = trained(tmp_path / "digits" / "version_0", CIFAR)
    network = load_network(run, device="cpu").network
    evaluated(run / "validated", network, "val")
    evaluated(tmp_path / "digits" / "evaluated_0", network)
    evaluated(run / "other", tiny())
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["model"]["initial_weights"] = "/home/ann/secret/first.ckpt"
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    (run / "panels").mkdir()
    (run / "panels" / "test.png").write_bytes(b"\x89PNG\r\n\x1a\nand more")
    folder = export(run, tmp_path / "out").folder
    card = (folder / "README.md").read_text()
    assert "the penalty `InterpretableGradient` on what it looks at, λ = 0.25." in card
    assert "On test images: accuracy 75.0 %." in card
    assert re.search(r"\| drop ↓ +\| 25.0 \[20.0, 30.0\] +\|", card)
    assert "over other content: Grad-CAM 3.0 [20.0, 30.0] %." in card
    assert "Measured on 9 test images of DecoyDigits" in card
    assert "![maps of a few images](maps.png)" in card
    header = yaml.safe_load(card.split("---")[1])
    assert (header["library_name"], header["pipeline_tag"]) == ("camtrain", "image-classification")
    training = yaml.safe_load((folder / "training.yaml").read_text())
    assert training["model"]["initial_weights"] == "first.ckpt"
    assert set(training) == {"model", "data", "trainer"}
    assert "/home" not in "".join(
        path.read_text() for path in folder.iterdir() if path.suffix in (".json", ".yaml", ".md")
    )
    # Again, without the picture: that of the first export is gone.
    exported = export(run, tmp_path / "out", no_pictures=True, evaluation=run / "validated")
    assert "maps.png" not in exported.files
    assert not (folder / "maps.png").exists()
    assert "9 val images" in (folder / "README.md").read_text()
    with pytest.raises(ValueError, match=r"`evaluation`: .* has the scores of another network"):
        export(run, tmp_path / "out", evaluation=run / "other")


def test_scores_of_another_checkpoint_of_the_run_are_not_shown(tmp_path):
    run = trained(tmp_path / "digits" / "version_0", CIFAR)
    content = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    torch.save(content, run / "checkpoints" / "epoch_001.ckpt")
    (run / "panels").mkdir()
    for name in ("test", "val_epoch_000", "val_epoch_001", "val_epoch_002"):
        (run / "panels" / f"{name}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + name.encode())
    folder = export(run / "checkpoints" / "epoch_001.ckpt", tmp_path / "out").folder
    assert "accuracy 75.0" not in (folder / "README.md").read_text()
    assert not (folder / "maps.png").exists()
    torch.save(content | {"epoch": 1}, run / "checkpoints" / "epoch_001.ckpt")
    folder = export(run / "checkpoints" / "epoch_001.ckpt", tmp_path / "out").folder
    assert (folder / "maps.png").read_bytes().endswith(b"val_epoch_001")


def test_the_card_of_a_network_with_a_single_logit(tmp_path):
    described = {"class_path": CIFAR["class_path"], "init_args": {**CIFAR["init_args"], "num_classes": 1}}
    network = CIFARResNet(**described["init_args"])
    run = trained(tmp_path / "run" / "version_0", described, num_classes=2, network=network)
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["data"] = {"class_path": "tests.exporting.test_export.Named", "init_args": {"names": ["owl"]}}
    (run / "config.yaml").write_text(json.dumps(config))
    folder = export(run, tmp_path / "out", size=48).folder
    card = (folder / "README.md").read_text()
    assert "of 1 logit." in card
    assert re.search(r"Classes: not .*\. The sigmoid of the logit is the probability of the second\.", card)
    made = {}
    exec(card.partition("```python\nimport torch\n")[2].partition("network.load_state_dict")[0], made)
    made["network"].load_state_dict(load_file(folder / "model.safetensors"))
    assert load_network(folder, device="cpu").num_classes == 2


def test_names_of_classes_are_text(tmp_path):
    run = trained(tmp_path / "digits" / "version_0", CIFAR)
    config = yaml.safe_load((run / "config.yaml").read_text())
    names = ["<script>", "a|b", "[x](http://y)", "`c`", "---", "e\nf", "*g*", "# h", "../../i", "j"]
    config["data"] = {"class_path": "tests.exporting.test_export.Named", "init_args": {"names": names}}
    (run / "config.yaml").write_text(json.dumps(config))
    folder = export(run, tmp_path / "out", size=48).folder
    card = (folder / "README.md").read_text()
    assert "&lt;script&gt;, a\\|b, \\[x\\]\\(http://y\\), \\`c\\`, ---, e f, " in card
    assert "\\*g\\*, \\# h, ../../i, \N{REPLACEMENT CHARACTER}." in card
    assert load_network(folder, device="cpu").class_names == [*names[:-1], "\ud800"]
    assert {path.name for path in folder.iterdir()} <= {*export(run, tmp_path / "out", size=48).files}


class Named(DecoyDigits):
    """Data whose classes have names of a stranger."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(image_size=48, digit_size=(18, 27))
        self.names = [*names[:-1], "\ud800"]

    @property
    def class_names(self) -> list[str]:
        return self.names


def test_wrong_arguments_are_named_and_nothing_is_written(exported, tmp_path, monkeypatch):
    run, folder = exported["cifar"]
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "README.md").write_text("mine")
    for options, message in [
        ({"folder": tmp_path / "full"}, "`folder`: expected an empty folder, or one of an earlier export"),
        ({"folder": "s3://bucket/x"}, "`folder`: expected a folder on this machine"),
        ({"cam": "grad_cam"}, "`cam`: expected none without `onnx`"),
        ({"target_layer": "layer1"}, "`target_layer`: expected none without `cam`"),
        ({"public": True}, "`public`: expected `push` beside it"),
        ({"push": "../../x"}, "`push`: expected a repository such as ann/digits"),
        ({"checkpoint": folder}, "`checkpoint`: expected a checkpoint or the folder of a run, got .* is exported"),
        ({"onnx": True, "cam": "score_cam"}, "`cam`: Score-CAM cannot be a part of an ONNX file"),
        ({"onnx": True, "cam": "scorecam"}, "`cam`: none is called 'scorecam'; did you mean 'score_cam'"),
    ]:
        with pytest.raises(ValueError, match=message):
            export(**{"checkpoint": run, "folder": tmp_path / "out", **options})
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "full" / "README.md").read_text() == "mine"
    for name, option in {"huggingface_hub": {"push": "ann/x"}, "onnxscript": {"onnx": True}}.items():
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(ValueError, match="pip install 'camtrain"):
            export(run, tmp_path / "out", **option)


def test_files_go_to_the_hub(exported, tmp_path, monkeypatch, capsys):
    run, _ = exported["timm"]
    monkeypatch.setenv("HF_TOKEN", "hf_of_nobody")
    words = ["export", "--checkpoint", str(run), "--to", str(tmp_path / "out"), "--push", "ann/digits"]
    with hub_on_this_machine() as (hub, address):
        monkeypatch.setattr(constants, "ENDPOINT", address)
        main(words)
        assert f"{address}/ann/digits" in capsys.readouterr().out
        assert hub.repositories["ann/digits"]["visibility"] == "private"
        written = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
        assert hub.files == written
        assert b'timm.create_model("hf-hub:ann/digits", pretrained=True)' in hub.files["README.md"]
        (tmp_path / "out" / "private.txt").write_text("mine")  # it is no file of the export
        main([*words, "--public"])
        assert hub.repositories["ann/digits"]["visibility"] == "public"
        assert set(hub.files) == set(written)
        hub.files |= {"model.onnx": b"of an earlier export", "maps.png": b"", "mine/model.onnx": b"", "notes.md": b""}
        main(words)
        assert set(hub.files) == {*written, "mine/model.onnx", "notes.md"}
        hub.refuses = True
        with pytest.raises(SystemExit, match="2"):
            main(words)
    said = capsys.readouterr().err
    assert "--push: the hub did not take ann/digits: HfHubHTTPError: 403" in said
    assert "the same command sends them again" in said


def test_a_second_normalization_is_not_left_out():
    """A data module of one's own may normalize by itself; camtrain does so after it."""
    own = [v2.ToDtype(torch.uint8, scale=True), v2.Resize(16), v2.CenterCrop(16), v2.ToDtype(torch.float32, scale=True)]
    made = transform_preprocessing(own, (0.5,) * 3, (0.5,) * 3)
    assert [next(iter(step)) for step in described_preprocessing(made)["steps"]] == ["resize", "center_crop"]
    for more in (v2.Normalize((0.1,) * 3, (0.2,) * 3), v2.ToDtype(torch.float64, scale=True), v2.RandomErasing()):
        with pytest.raises(ValueError, match="by a transform that no file can describe"):
            described_preprocessing(transform_preprocessing([*own, more], (0.5,) * 3, (0.5,) * 3))
