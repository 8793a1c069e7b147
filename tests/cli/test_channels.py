"""Tiles of four channels from a configuration to pictures: fit, explain and evaluate."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import yaml
from PIL import Image
from torch import nn

from camtrain import Classifier, explain, load_data, load_network
from camtrain.cli import main
from camtrain.data import ImageFolderData
from camtrain.messages import DataError
from camtrain.pixel_format import PixelFormat
from tests.data.raster_files import make_tiles

DATA = {
    "root": "tiles", "image_size": 12, "batch_size": 4, "augmentation": "none", "channels": 4, "pixel_type": "uint16",
    "value_range": [0, 10000], "shown_channels": [3, 1, 0],
}  # fmt: skip
NETWORK = {"name": "cifar_resnet8", "num_classes": 2, "in_channels": 4}
CONFIG = {
    "model": {
        "network": {"class_path": "camtrain.networks.build_network", "init_args": NETWORK},
        "regularizer": {"class_path": "camtrain.regularizers.InterpretableGradient"},
        "regularizer_weight": 0.1,
    },
    "data": {"class_path": "camtrain.data.ImageFolderData", "init_args": DATA},
    "trainer": {"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False},
    "run": {"folder": "runs", "name": "tiles", "wandb": "disabled"},
}


def run(patch, *words):
    patch.setattr(sys, "argv", ["camtrain", *map(str, words)])
    main()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with tiles, a run on them, and explanations and an evaluation of its network."""
    root = tmp_path_factory.mktemp("four_channels")
    make_tiles(root / "tiles", per_class=8)
    (root / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        run(patch, "fit", "--config", "config.yaml")
        checkpoint = root / "runs" / "tiles" / "version_0" / "checkpoints" / "last.ckpt"
        (root / "last.ckpt").symlink_to(checkpoint)
        words = ("--checkpoint", checkpoint, "--device", "cpu")
        run(patch, "explain", *words, "--images", "tiles/wet", "--methods", "grad_cam,smooth_grad")
        run(patch, "evaluate", *words, "--methods", "grad_cam", "--metrics", "average_drop,map_leakage")
    return root


@pytest.fixture(autouse=True)
def inside(folder, monkeypatch):
    monkeypatch.chdir(folder)


def checkpoint(folder):
    return (folder / "last.ckpt").resolve()


def test_pictures_show_the_channels_that_are_named(folder):
    network = load_network(checkpoint(folder), device="cpu")
    (explanation,) = explain(network, "tiles/wet/3.npy", progress=False, data=load_data(checkpoint(folder)))
    stored = np.load("tiles/wet/3.npy")
    expected = torch.from_numpy(stored[..., [3, 1, 0]] / np.float32(10000)).permute(2, 0, 1)
    torch.testing.assert_close(explanation.picture, expected)
    torch.testing.assert_close(explanation.view.picture, expected)
    assert explanation.label == "wet"
    assert explanation.map.shape == (12, 12)


def test_explanations_are_files(folder):
    assert sorted(path.name for path in Path("explained").glob("*.png"))[:3] == [
        "0.grad_cam.png", "0.smooth_grad.png", "1.grad_cam.png"
    ]  # fmt: skip
    assert "tiles/wet/0.npy,wet," in Path("explained/explanations.csv").read_text()


def test_panels_of_the_training_show_the_channels_that_are_named(folder):
    (panel,) = (checkpoint(folder).parents[1] / "panels").glob("val_epoch_*.png")
    sheet = np.asarray(Image.open(panel)).reshape(-1, 3).astype(int)
    # Red is the fourth channel, which is 0.90 in `wet` and 0.10 in `dry`, while green and blue are noise.
    is_colored = sheet.max(axis=1) - sheet.min(axis=1) > 60
    reds = sheet[is_colored][:, 0]
    assert ((abs(reds - 230) < 8) | (abs(reds - 26) < 8)).mean() > 0.3


def test_a_tile_of_other_channels_is_refused_by_its_name(folder, tmp_path):
    np.save(tmp_path / "three.npy", np.zeros((12, 12, 3), dtype=np.uint16))
    with pytest.raises(DataError, match=r"three.npy: `channels`: expected 4 channels of uint16, got a file with 3"):
        list(explain(load_network(checkpoint(folder), device="cpu"), tmp_path / "three.npy", progress=False))


def test_pictures_in_memory_have_the_channels_of_the_network(folder):
    network = load_network(checkpoint(folder), device="cpu")
    prepared = replace(network.preprocessing, pixel_format=PixelFormat(4))
    in_bytes = replace(network, preprocessing=prepared)
    picture = Image.new("RGBA", (12, 12), (0, 51, 102, 255))
    (explanation,) = explain(in_bytes, picture, progress=False)
    torch.testing.assert_close(explanation.picture[:, 0, 0], torch.tensor([1.0, 0.2, 0.0]))
    with pytest.raises(ValueError, match="`images`: a picture cannot be explained: `channels`: expected 4 channels of"):
        list(explain(in_bytes, picture.convert("RGB"), progress=False))


def test_tensors_have_the_channels_of_the_network(folder):
    network = load_network(checkpoint(folder), device="cpu")
    assert len(list(explain(network, torch.zeros(2, 4, 12, 12), progress=False))) == 2
    with pytest.raises(ValueError, match=r"`images`: expected a floating point tensor, \(N, 4, H, W\) or \(4, H, W\)"):
        explain(network, torch.zeros(2, 3, 12, 12))


def test_the_images_need_not_be_there(folder, tmp_path, monkeypatch):
    """The settings of the run say what its files hold."""
    config = CONFIG | {"data": {"class_path": "camtrain.data.ImageFolderData", "init_args": DATA | {"root": "gone"}}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    network = load_network(checkpoint(folder), config=tmp_path / "config.yaml", device="cpu")
    with pytest.warns(UserWarning, match="cannot be made"):
        explanations = explain(network, "tiles/dry/0.npy", progress=False)
    (explanation,) = explanations
    stored = np.load("tiles/dry/0.npy")
    torch.testing.assert_close(explanation.picture[0], torch.from_numpy(stored[..., 3] / np.float32(10000)))


def test_a_network_of_three_channels_is_refused(folder):
    trainer = pl.Trainer(
        fast_dev_run=1, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False
    )
    data = ImageFolderData(**DATA)
    message = "`network`: CIFARResNet cannot be trained: it seems to take images of 3 channels, and these have 4"
    with pytest.raises(ValueError, match=message):
        trainer.fit(Classifier("cifar_resnet8", 2), datamodule=data)
    with pytest.raises(ValueError, match="cannot be trained: it seems to take images of 3 channels, and these have 4"):
        trainer.validate(Classifier("cifar_resnet8", 2), datamodule=data)


def test_other_errors_of_a_network_are_its_own(folder):
    class Broken(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(3, 2, 1)

        def forward(self, images):
            raise RuntimeError("out of luck")

    trainer = pl.Trainer(
        fast_dev_run=1, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False
    )
    with pytest.raises(RuntimeError, match=r"^out of luck$"):
        trainer.fit(Classifier(Broken(), 2), datamodule=ImageFolderData(**DATA))
