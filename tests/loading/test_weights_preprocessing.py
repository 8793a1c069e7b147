"""Photographs are prepared as the weights of a network were trained with."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision import models

from camtrain.loading.weights_preprocessing import (
    timm_preprocessing,
    torchvision_preprocessing,
    weights_preprocessing,
)
from camtrain.networks.preprocessing import IMAGENET_MEAN, IMAGENET_STD, GivenPreprocessing

NONE = GivenPreprocessing()


@pytest.fixture
def photo():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8))


def test_of_torchvision_weights(photo):
    weights = models.get_model_weights("resnet50")["IMAGENET1K_V2"]
    prepared, names = torchvision_preprocessing("resnet50", "IMAGENET1K_V2", NONE)
    torch.testing.assert_close(prepared.transform(photo), weights.transforms()(photo), rtol=0, atol=0)
    assert names == weights.meta["categories"]
    assert torchvision_preprocessing("resnet50", "ResNet50_Weights.DEFAULT", NONE)[1]
    # Without weights there are no classes to name, but the size is the network's.
    random, random_names = torchvision_preprocessing("inception_v3", None, NONE)
    assert random_names is None
    assert random.transform(photo).shape == (3, 299, 299)


def test_another_size_shows_the_same_part_of_the_photo(photo):
    usual, _ = torchvision_preprocessing("resnet18", None, NONE)
    twice, _ = torchvision_preprocessing("resnet18", None, GivenPreprocessing(size=448, mean=(0, 0, 0), std=(1, 1, 1)))
    large = twice.picture(twice.transform(photo))
    assert large.shape == (3, 448, 448)
    small = usual.picture(usual.transform(photo))
    assert (torch.nn.functional.avg_pool2d(large, 2) - small).abs().mean() < 0.02


@pytest.mark.skipif(find_spec("timm") is None, reason="timm is an extra")
def test_of_timm(photo):
    import timm

    network = timm.create_model("test_resnet")
    cfg = timm.data.resolve_model_data_config(network)
    prepared, names = timm_preprocessing(network, True, NONE)
    expected = timm.data.create_transform(**cfg, is_training=False)(photo)
    torch.testing.assert_close(prepared.transform(photo), expected, rtol=0, atol=0)
    assert names[281].startswith("tabby")
    assert len(names) == 1000
    assert timm_preprocessing(network, False, NONE)[1] is None
    assert timm_preprocessing(network, False, GivenPreprocessing(size=64))[0].transform(photo).shape == (3, 64, 64)


@pytest.mark.parametrize(("name", "size"), [("cifar_resnet8", 32), ("my_code.Net", 224)])
def test_networks_that_say_nothing_get_imagenet_s_normalization(photo, name, size):
    prepared, names = weights_preprocessing(name, nn.Identity(), None, NONE)
    assert prepared.transform(photo).shape == (3, size, size)
    assert (prepared.mean, prepared.std) == (IMAGENET_MEAN, IMAGENET_STD)
    assert (prepared.assumed, names) == (True, None)


def test_that_it_is_assumed_is_said_of_a_network_of_ones_own():
    (remark,) = weights_preprocessing("my_code.Net", nn.Identity(), None, NONE)[0].remarks
    assert "ImageNet's mean and std are assumed; pass `mean` and `std`, or `config`" in remark
    given = GivenPreprocessing(None, (0, 0, 0), (1, 1, 1))
    prepared, _ = weights_preprocessing("my_code.Net", nn.Identity(), None, given)
    assert (prepared.remarks, prepared.assumed, prepared.mean) == ((), False, (0, 0, 0))


def test_a_file_of_weights_says_nothing_of_images():
    """A network of torchvision or timm has its usual normalization; of another one what a configuration says counts."""
    network, given = nn.Conv2d(3, 4, 3), GivenPreprocessing(None, (0, 0, 0), (1, 1, 1))
    for name, assumed in (("resnet18", False), ("cifar_resnet8", True)):
        prepared, names = weights_preprocessing(name, network, "own.safetensors", GivenPreprocessing())
        assert (prepared.assumed, names) == (assumed, None)
        assert not weights_preprocessing(name, network, "own.safetensors", given)[0].assumed
