"""Photos reach a network as its training images did."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torchvision import models

from camtrain.cli.preprocessing import (
    Override,
    data_preprocessing,
    plain_preprocessing,
    timm_preprocessing,
    torchvision_preprocessing,
)
from camtrain.data import CIFAR10, DecoyDigits, ImageFolderData
from camtrain.data.image_data_module import IMAGENET_MEAN, IMAGENET_STD

NONE = Override()


@pytest.fixture
def photo():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8))


@pytest.fixture
def config(tmp_path):
    """Writes a configuration with this data module."""

    def write(class_path, **init_args):
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump({"data": {"class_path": class_path, "init_args": init_args}}))
        return path

    return write


def test_plain(photo):
    prepared = plain_preprocessing(Override(size=30))
    image = prepared.transform(photo)
    assert image.shape == (3, 30, 30)
    flat = plain_preprocessing(Override(size=8)).transform(Image.new("RGB", (9, 9), (255, 0, 51)))
    expected = (torch.tensor([1.0, 0.0, 0.2]) - torch.tensor(IMAGENET_MEAN)) / torch.tensor(IMAGENET_STD)
    torch.testing.assert_close(flat, expected.view(3, 1, 1).expand(3, 8, 8))
    torch.testing.assert_close(prepared.picture(flat)[:, 0, 0], torch.tensor([1.0, 0.0, 0.2]))


def test_of_torchvision_weights(photo):
    weights = models.get_model_weights("resnet50")["IMAGENET1K_V2"]
    prepared = torchvision_preprocessing("resnet50", "IMAGENET1K_V2", NONE)
    torch.testing.assert_close(prepared.transform(photo), weights.transforms()(photo), rtol=0, atol=0)
    assert prepared.class_names == weights.meta["categories"]
    assert torchvision_preprocessing("resnet50", "ResNet50_Weights.DEFAULT", NONE).class_names
    # Without weights there are no classes to name, but the size is the network's.
    random = torchvision_preprocessing("inception_v3", None, NONE)
    assert random.class_names is None
    assert random.transform(photo).shape == (3, 299, 299)


def test_another_size_shows_the_same_part_of_the_photo(photo):
    usual = torchvision_preprocessing("resnet18", None, NONE)
    twice = torchvision_preprocessing("resnet18", None, Override(size=448, mean=(0, 0, 0), std=(1, 1, 1)))
    large = twice.picture(twice.transform(photo))
    assert large.shape == (3, 448, 448)
    small = usual.picture(usual.transform(photo))
    assert (torch.nn.functional.avg_pool2d(large, 2) - small).abs().mean() < 0.02


@pytest.mark.skipif(find_spec("timm") is None, reason="timm is an extra")
def test_of_timm(photo):
    import timm

    network = timm.create_model("test_resnet")
    cfg = timm.data.resolve_model_data_config(network)
    prepared = timm_preprocessing(network, True, NONE)
    expected = timm.data.create_transform(**cfg, is_training=False)(photo)
    torch.testing.assert_close(prepared.transform(photo), expected, rtol=0, atol=0)
    assert prepared.class_names[281].startswith("tabby")
    assert len(prepared.class_names) == 1000
    assert timm_preprocessing(network, False, NONE).class_names is None
    assert timm_preprocessing(network, False, Override(size=64)).transform(photo).shape == (3, 64, 64)


def test_of_a_data_module_whose_images_have_the_size_of_its_transform(fake_image_folder, config, photo, tmp_path):
    path = config("ImageFolderData", root=str(fake_image_folder / "images"), image_size=16, mean=[0.1, 0.2, 0.3])
    prepared = data_preprocessing(path, NONE)
    data = ImageFolderData(str(fake_image_folder / "images"), image_size=16, mean=(0.1, 0.2, 0.3))
    assert prepared.class_names == data.class_names
    assert prepared.remarks == []
    # What the data module makes of an image of its own.
    sample = data.data_set("val")[0]["image"]
    stored = Image.open(data.samples("val").files[0].path).convert("RGB")
    torch.testing.assert_close(prepared.transform(stored), torch.Tensor(sample), rtol=0, atol=0)
    assert data_preprocessing(path, Override(size=9)).transform(photo).shape == (3, 9, 9)


def test_of_a_data_module_whose_images_are_of_one_size(config, photo):
    prepared = data_preprocessing(config("camtrain.data.DecoyDigits", image_size=80), NONE)
    assert prepared.transform(photo).shape == (3, 80, 80)
    assert tuple(prepared.mean) == DecoyDigits.default_mean
    assert prepared.class_names == [str(digit) for digit in range(10)]
    prepared = data_preprocessing(config("camtrain.data.CIFAR10", std=[0.5, 0.5, 0.5]), Override(mean=(0, 0, 0)))
    assert prepared.transform(photo).shape == (3, 32, 32)
    assert (prepared.mean, prepared.std) == ((0, 0, 0), (0.5, 0.5, 0.5))
    assert prepared.class_names == list(CIFAR10.all_class_names)


def test_the_eval_transform_of_the_configuration_is_used(config, photo):
    resize = {"class_path": "torchvision.transforms.v2.Resize", "init_args": {"size": [20, 24]}}
    path = config("camtrain.data.DecoyDigits", eval_transform=[resize])
    assert data_preprocessing(path, NONE).transform(photo).shape == (3, 20, 24)


def test_data_that_is_not_on_this_machine(config, photo, tmp_path):
    path = config("ImageFolderData", root=str(tmp_path / "gone"), image_size=16, classes=["b", "a"])
    prepared = data_preprocessing(path, NONE)
    assert prepared.transform(photo).shape == (3, 16, 16)
    assert tuple(prepared.mean) == IMAGENET_MEAN
    assert prepared.class_names == ["b", "a"]
    (remark,) = prepared.remarks
    assert "can not be made, so that its classes may have no names: `root`: training images were looked" in remark
    resize = {"class_path": "torchvision.transforms.v2.Resize", "init_args": {"size": [20, 24]}}
    path = config("ImageFolderData", root=str(tmp_path / "gone"), eval_transform=[resize])
    with pytest.raises(ValueError, match="its data module can not be made: `root`"):
        data_preprocessing(path, NONE)


def test_a_data_module_of_ones_own(config, photo, tmp_path, monkeypatch):
    (tmp_path / "own_data.py").write_text("""
import pytorch_lightning as pl

class Data(pl.LightningDataModule):
    num_classes, class_names = 2, ("left", "right")
""")
    monkeypatch.syspath_prepend(tmp_path)
    prepared = data_preprocessing(config("own_data.Data"), NONE)
    assert prepared.class_names == ["left", "right"]
    assert prepared.transform(photo).shape == (3, 224, 224)
    assert [remark.split(":")[0] for remark in prepared.remarks] == [
        "Data has no mean and std",
        "Data has no image_size",
    ]
    override = Override(8, (0.5, 0.5, 0.5), (1, 1, 1))
    assert data_preprocessing(config("own_data.Data"), override).remarks == []
    sys.modules.pop("own_data")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: {}", "expected a configuration with a data module under `data`"),
        ("- 1", "expected a configuration with a data module under `data`"),
        ("data: [", "expected a configuration with a data module under `data`"),
        ("data: {class_path: nowhere.Data}", "nowhere"),
        ("data: null", "data"),
        ("data: ${oc.env:CAMTRAIN_NOT_SET}", "CAMTRAIN_NOT_SET"),
    ],
)
def test_configurations_without_data_are_named(tmp_path, text, message):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        data_preprocessing(path, NONE)
    assert str(path) in str(error.value)
    with pytest.raises(FileNotFoundError, match="no such configuration"):
        data_preprocessing(Path("absent.yaml"), NONE)
