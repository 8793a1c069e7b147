"""From photographs to the input of a network, and back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from camtrain.networks.preprocessing import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    GivenPreprocessing,
    listed,
    plain_preprocessing,
)
from camtrain.pixel_format import PixelFormat


@pytest.fixture
def photo():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8))


def test_the_central_square_is_normalized_and_shown_again(photo):
    prepared = plain_preprocessing(GivenPreprocessing(size=30))
    image = prepared.transform(photo)
    assert image.shape == (3, 30, 30)
    flat = plain_preprocessing(GivenPreprocessing(size=8)).transform(Image.new("RGB", (9, 9), (255, 0, 51)))
    expected = (torch.tensor([1.0, 0.0, 0.2]) - torch.tensor(IMAGENET_MEAN)) / torch.tensor(IMAGENET_STD)
    torch.testing.assert_close(flat, expected.view(3, 1, 1).expand(3, 8, 8))
    torch.testing.assert_close(prepared.picture(flat)[:, 0, 0], torch.tensor([1.0, 0.0, 0.2]))


def test_the_square_is_in_the_center():
    pixels = np.zeros((8, 16, 3), dtype=np.uint8)
    pixels[:, 4:12] = 255
    shown = plain_preprocessing(GivenPreprocessing(8, (0, 0, 0), (1, 1, 1))).transform(Image.fromarray(pixels))
    torch.testing.assert_close(shown, torch.ones(3, 8, 8))


def test_it_is_assumed_unless_mean_and_std_are_given():
    assert plain_preprocessing().assumed
    assert plain_preprocessing(GivenPreprocessing(mean=(0, 0, 0))).assumed
    given = plain_preprocessing(GivenPreprocessing(mean=(0, 0, 0), std=(1, 1, 1)))
    assert (given.assumed, given.mean, given.std) == (False, (0, 0, 0), (1, 1, 1))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"size": 0}, "`size`: expected a positive number of pixels, got 0"),
        ({"mean": ()}, "`mean`: expected finite numbers, one for each channel, got none"),
        ({"std": ()}, "`std`: expected positive, finite numbers, one for each channel, got none"),
        ({"mean": (0, 0), "std": (1, 1, 1)}, "`std`: expected as many numbers as `mean` has, 2, got 3"),
        ({"mean": (0, float("nan"), 0)}, "`mean`: expected finite numbers"),
        ({"mean": (0, 0, float("inf"))}, "`mean`: expected finite numbers"),
        ({"std": (1, 1, float("inf"))}, "`std`: expected positive, finite numbers"),
        ({"std": (1, -1, 1)}, "`std`: expected positive, finite numbers"),
        ({"std": (1, 1e-320, 1)}, "`std`: expected positive, finite numbers"),
        (
            {"std": (1, 0, 1)},
            r"`std`: expected positive, finite numbers, .* got \(1, 0, 1\)",
        ),
    ],
)
def test_wrong_values_are_named(given, message):
    with pytest.raises(ValueError, match=message):
        GivenPreprocessing(**given)


@pytest.mark.parametrize("name", ["mean", "std"])
def test_mean_and_std_are_those_of_the_channels_of_the_network(name):
    given = GivenPreprocessing(**{name: (1, 1, 1, 1)})
    with pytest.raises(ValueError, match=f"`{name}`: expected 3 numbers, one for each channel, got 4"):
        given.normalization((0, 0, 0), (1, 1, 1))


def test_four_channels():
    prepared = plain_preprocessing(size=2, channels=4)
    image = torch.tensor([0.0, 0.25, 0.5, 1.0]).view(4, 1, 1).expand(4, 3, 5)
    normalized = prepared.transform(image)
    assert normalized[:, 0, 0].tolist() == [-1, -0.5, 0, 1]  # (x - 0.5) / 0.5
    assert prepared.picture(normalized)[:, 0, 0].tolist() == [0, 0.25, 0.5]
    shown = replace(prepared, shown_channels=[3])
    assert shown.picture(normalized)[:, 0, 0].tolist() == [1, 1, 1]
    assert (prepared.channels, prepared.pixel_format, prepared.assumed) == (4, PixelFormat(4), True)


def test_numbers_are_listed_as_people_read_them():
    assert listed((0.485, 1)) == "[0.485, 1.0]"
