"""From photographs to the input of a network, and back."""

from __future__ import annotations

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
        ({"mean": (0, 0)}, r"`mean`: expected three finite numbers, one for each of R, G and B, got \(0, 0\)"),
        ({"mean": (0, float("nan"), 0)}, "`mean`: expected three finite numbers"),
        ({"mean": (0, 0, float("inf"))}, "`mean`: expected three finite numbers"),
        ({"std": (1, 1, float("inf"))}, "`std`: expected three positive, finite numbers"),
        ({"std": (1, -1, 1)}, "`std`: expected three positive, finite numbers"),
        ({"std": (1, 1e-320, 1)}, "`std`: expected three positive, finite numbers"),
        (
            {"std": (1, 0, 1)},
            r"`std`: expected three positive, finite numbers, .* got \(1, 0, 1\)",
        ),
    ],
)
def test_wrong_values_are_named(given, message):
    with pytest.raises(ValueError, match=message):
        GivenPreprocessing(**given)


def test_numbers_are_listed_as_people_read_them():
    assert listed((0.485, 1)) == "[0.485, 1.0]"
