"""Photographs are prepared as the validation images of a run."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from camtrain.data import CIFAR10, DecoyDigits, ImageFolderData, Squash
from camtrain.loading.data_preprocessing import data_preprocessing
from camtrain.networks.preprocessing import IMAGENET_MEAN, IMAGENET_STD, GivenPreprocessing, transform_preprocessing

NONE = GivenPreprocessing()


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


def test_of_a_data_module_whose_images_have_the_size_of_its_transform(fake_image_folder, config, photo, tmp_path):
    path = config("ImageFolderData", root=str(fake_image_folder / "images"), image_size=16, mean=[0.1, 0.2, 0.3])
    prepared, names = data_preprocessing(path, NONE)
    data = ImageFolderData(str(fake_image_folder / "images"), image_size=16, mean=(0.1, 0.2, 0.3))
    assert names == data.class_names
    assert prepared.remarks == ()
    # What the data module makes of an image of its own.
    sample = data.data_set("val")[0]["image"]
    stored = Image.open(data.samples("val").files[0].path).convert("RGB")
    torch.testing.assert_close(prepared.transform(stored), torch.Tensor(sample), rtol=0, atol=0)
    assert data_preprocessing(path, GivenPreprocessing(size=9))[0].transform(photo).shape == (3, 9, 9)


def test_of_a_data_module_whose_images_are_of_one_size(config, photo):
    prepared, names = data_preprocessing(config("camtrain.data.DecoyDigits", image_size=80), NONE)
    assert prepared.transform(photo).shape == (3, 80, 80)
    assert tuple(prepared.mean) == DecoyDigits.default_mean
    assert names == [str(digit) for digit in range(10)]
    prepared, names = data_preprocessing(
        config("camtrain.data.CIFAR10", std=[0.5, 0.5, 0.5]), GivenPreprocessing(mean=(0, 0, 0))
    )
    assert prepared.transform(photo).shape == (3, 32, 32)
    assert (prepared.mean, prepared.std) == ((0, 0, 0), (0.5, 0.5, 0.5))
    assert names == list(CIFAR10.all_class_names)


def test_the_eval_transform_of_the_configuration_is_used(config, photo):
    resize = {"class_path": "torchvision.transforms.v2.Resize", "init_args": {"size": [20, 24]}}
    path = config("camtrain.data.DecoyDigits", eval_transform=[resize])
    assert data_preprocessing(path, NONE)[0].transform(photo).shape == (3, 20, 24)


def test_an_empty_transform_says_nothing_of_photographs(fake_image_folder, config, photo):
    path = config("ImageFolderData", root=str(fake_image_folder / "images"), image_size=16, eval_transform=[])
    prepared, _ = data_preprocessing(path, NONE)
    assert prepared.transform(photo).shape == (3, 16, 16)
    (remark,) = prepared.remarks
    assert "ImageFolderData does not say how it brings photographs to its size" in remark


def test_data_that_is_not_on_this_machine(config, photo, tmp_path):
    path = config("ImageFolderData", root=str(tmp_path / "gone"), image_size=16, classes=["b", "a"])
    prepared, names = data_preprocessing(path, NONE)
    assert prepared.transform(photo).shape == (3, 16, 16)
    assert tuple(prepared.mean) == IMAGENET_MEAN
    assert names == ["b", "a"]
    (remark,) = prepared.remarks
    assert "cannot be made, so that its classes may have no names: `root`: " in remark
    resize = {"class_path": "torchvision.transforms.v2.Resize", "init_args": {"size": [20, 24]}}
    path = config("ImageFolderData", root=str(tmp_path / "gone"), eval_transform=[resize])
    with pytest.raises(ValueError, match="its data module cannot be made: `root`"):
        data_preprocessing(path, NONE)


def test_data_without_its_annotation_has_no_class_names(config, photo, tmp_path):
    prepared, names = data_preprocessing(config("camtrain.data.COCO", root=str(tmp_path), image_size=16), NONE)
    assert names is None
    assert prepared.transform(photo).shape == (3, 16, 16)
    (remark,) = prepared.remarks
    assert "cannot be made, so that its classes may have no names: `root`: expected the annotation of" in remark


def test_the_transform_of_a_class_whose_data_are_not_on_this_machine(config, photo, tmp_path, monkeypatch):
    path = config("camtrain.data.WSOLData", benchmark="CUB", metadata_root=str(tmp_path / "gone"), image_size=16)
    prepared, _ = data_preprocessing(path, NONE)
    squashed = transform_preprocessing([Squash(16)], IMAGENET_MEAN, IMAGENET_STD).transform(photo)
    torch.testing.assert_close(prepared.transform(photo), squashed, rtol=0, atol=0)
    assert len(prepared.remarks) == 1
    (tmp_path / "squashed_data.py").write_text("""
from camtrain.data import ImageFolderData, Squash

class Squashed(ImageFolderData):
    def default_eval_transform(self):
        return [Squash(self.image_size)]
""")
    monkeypatch.syspath_prepend(tmp_path)
    path = config("squashed_data.Squashed", root=str(tmp_path / "gone"), image_size=16)
    _, remark = data_preprocessing(path, NONE)[0].remarks
    assert remark == (
        "Squashed has a transform of its own, which is not known without its files: the largest central square is "
        "assumed; put its files where the configuration says they are"
    )
    assert len(data_preprocessing(path, GivenPreprocessing(size=9))[0].remarks) == 1
    sys.modules.pop("squashed_data")


def test_a_data_module_of_ones_own(config, photo, tmp_path, monkeypatch):
    (tmp_path / "own_data.py").write_text("""
import pytorch_lightning as pl

class Data(pl.LightningDataModule):
    num_classes, class_names = 2, ("left", "right")
""")
    monkeypatch.syspath_prepend(tmp_path)
    prepared, names = data_preprocessing(config("own_data.Data"), NONE)
    assert names == ["left", "right"]
    assert prepared.transform(photo).shape == (3, 224, 224)
    assert [remark.split(":")[0] for remark in prepared.remarks] == [
        "Data has no mean and std",
        "Data has no image_size",
    ]
    given = GivenPreprocessing(8, (0.5, 0.5, 0.5), (1, 1, 1))
    assert data_preprocessing(config("own_data.Data"), given)[0].remarks == ()
    (tmp_path / "own_data.py").write_text("""
import pytorch_lightning as pl

class Data(pl.LightningDataModule):
    mean, std = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    def __init__(self, image_size: int = 32):
        super().__init__()
""")
    sys.modules.pop("own_data")
    (remark,) = data_preprocessing(config("own_data.Data", image_size=40), NONE)[0].remarks
    assert remark.startswith("Data does not say how it brings photographs to its size: the largest central square is")
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
