"""The images of a configuration, normalized as a network expects them."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
import yaml

from camtrain.loading import load_data
from camtrain.loading.load_data import _same
from camtrain.messages import CamtrainWarning
from camtrain.networks import CIFARResNet, LoadedNetwork
from camtrain.networks.preprocessing import GivenPreprocessing, plain_preprocessing
from tests.data.raster_files import make_tiles
from tests.squares import Bare, Fixed, Squares

REMARK = "mean and std are a guess"
OWN = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}


@pytest.fixture
def config(tmp_path):
    """Writes a configuration with this data module."""

    def write(kind, **init_args):
        path = tmp_path / "config.yaml"
        class_path = f"{kind.__module__}.{kind.__name__}"
        path.write_text(yaml.safe_dump({"data": {"class_path": class_path, "init_args": init_args}}))
        return path

    return write


def network(**given) -> LoadedNetwork:
    """A network whose caller said this about images."""
    preprocessing = plain_preprocessing(GivenPreprocessing(**given), remarks=[] if len(given) > 1 else [REMARK])
    return LoadedNetwork(CIFARResNet(depth=8, num_classes=3, width=4), "it", preprocessing)


def test_without_a_network_images_are_as_the_configuration_says(config):
    data = load_data(config(Squares, length=4, mean=[0.1, 0.2, 0.3]))
    assert (type(data), len(data.data_set("test")), tuple(data.mean)) == (Squares, 4, (0.1, 0.2, 0.3))


def test_images_are_normalized_and_sized_as_the_network_expects(config):
    data = load_data(str(config(Squares)), network(size=24, mean=(0.0, 0.1, 0.2), std=(1.0, 2.0, 4.0)))
    (first, *_) = data.data_set("test")
    plain = Squares(image_size=24, mean=(0.001, 0.001, 0.001), std=(1, 1, 1)).data_set("test")[0]["image"] + 0.001
    expected = (plain - torch.tensor([0.0, 0.1, 0.2]).view(3, 1, 1)) / torch.tensor([1.0, 2.0, 4.0]).view(3, 1, 1)
    torch.testing.assert_close(torch.Tensor(first["image"]), torch.Tensor(expected))


def test_what_the_configuration_says_comes_before_a_guess(config):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = load_data(config(Squares, mean=[0.1, 0.2, 0.3]), network())
        assert tuple(data.mean) == (0.1, 0.2, 0.3)
        assert tuple(load_data(config(Squares, mean=[0.1, 0.2, 0.3]), network(mean=(0, 0, 0))).mean) == (0, 0, 0)


def test_a_guess_is_not_said_where_the_data_module_has_its_own_normalization(config):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = load_data(config(Fixed), network())
        load_data(config(Fixed), network(**OWN))
    assert tuple(data.mean) == OWN["mean"]


def test_another_normalization_than_the_data_module_s_own_is_an_error(config):
    message = r"`mean`: Fixed has no such setting and normalizes with \[0.5, 0.5, 0.5\], and the network expects \[0.0,"
    with pytest.raises(ValueError, match=message):
        load_data(config(Fixed), network(mean=(0, 0, 0), std=OWN["std"]))
    with pytest.raises(ValueError, match="`size`: expected none, since Fixed has no `image_size`, got 16"):
        load_data(config(Fixed), network(size=16, **OWN))


def test_a_data_module_that_does_not_say_how_it_normalizes(config):
    with pytest.warns(CamtrainWarning) as caught:
        load_data(config(Bare), network())
    assert [str(each.message) for each in caught] == [
        "Bare does not say how it normalizes images, which are taken as they are"
    ]
    message = "`mean`: expected none, since Bare has no such setting and normalizes in its own way, got"
    with pytest.raises(ValueError, match=message):
        load_data(config(Bare), network(**OWN))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: {}", "`config`: .*config.yaml: expected a configuration with a data module"),
        ("data: {class_path: tests.squares.Squares, init_args: {length: many}}", "`config`: .*config.yaml: "),
        ("data: {class_path: ImageFolderData, init_args: {root: gone}}", "its data module cannot be made: `root`"),
    ],
)
def test_configurations_that_cannot_be_used_are_named(tmp_path, text, message):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_data(path)


def test_paths_without_a_configuration_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"`config`: no such configuration: absent\.yaml"):
        load_data(Path("absent.yaml"))
    (tmp_path / "a.ckpt").touch()
    with pytest.raises(FileNotFoundError, match=r"`config`: expected the configuration of a run beside .*a\.ckpt"):
        load_data(tmp_path / "a.ckpt")


def test_images_of_four_channels(tmp_path):
    make_tiles(tmp_path / "tiles", per_class=3)
    stated = {"channels": 4, "pixel_type": "uint16", "value_range": [0, 10000], "image_size": 12}
    path = tmp_path / "config.yaml"
    settings = {"class_path": "ImageFolderData", "init_args": {"root": str(tmp_path / "tiles"), **stated}}
    path.write_text(yaml.safe_dump({"data": settings}))
    mean, std = (0.1, 0.2, 0.3, 0.4), (0.5, 0.6, 0.7, 0.8)
    prepared = plain_preprocessing(GivenPreprocessing(mean=mean, std=std))
    loaded = LoadedNetwork(CIFARResNet(depth=8, num_classes=2, in_channels=4), "it", prepared)
    data = load_data(path, loaded)
    assert (tuple(data.mean), tuple(data.std)) == (mean, std)
    with pytest.raises(ValueError, match="`mean`: expected 4 numbers, one for each channel, got 3"):
        load_data(path, network(mean=(0.5,) * 3, std=(0.5,) * 3))


@pytest.mark.parametrize(
    ("own", "wanted", "same"),
    [
        ((0.5,) * 4, (0.5,) * 4, True),
        (0.5, (0.5,) * 4, True),
        ((0.5,) * 3, (0.5,) * 4, False),
        ((0.1,), (0.5,), False),
    ],
)
def test_normalizations_are_compared_channel_by_channel(own, wanted, same):
    assert _same(own, wanted) is same
