"""Which part of a photograph a network sees."""

from __future__ import annotations

import pytest
from torchvision.transforms import v2

from camtrain.loading.weights_preprocessing import torchvision_preprocessing
from camtrain.networks.preprocessing import GivenPreprocessing, plain_preprocessing, transform_preprocessing
from camtrain.networks.seen_part import seen_part


def prepared(*transform):
    return transform_preprocessing(transform, (0.5, 0.4, 0.3), (0.25, 0.2, 0.1))


@pytest.mark.parametrize("size", [8, 32, 224])
@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [
        (200, 100, (50, 0, 150, 100)),
        (375, 500, (0, 62.5, 375, 437.5)),
        (16, 16, (0, 0, 16, 16)),
        (9, 8, (0.5, 0, 8.5, 8)),
    ],
)
def test_the_largest_square_in_the_middle(size, width, height, expected):
    """Scaling to a few pixels cuts to whole ones: a part of it is up to one of these pixels."""
    found = seen_part(plain_preprocessing(size=size), width, height)
    assert found == pytest.approx(expected, abs=1 + min(width, height) / size)


def test_other_crops():
    preset, _ = torchvision_preprocessing("resnet18", None, GivenPreprocessing())
    part = 224 / 256 * 375
    middle = ((500 - part) / 2, (375 - part) / 2, (500 + part) / 2, (375 + part) / 2)
    assert seen_part(preset, 500, 375) == pytest.approx(middle, abs=1.5)
    assert seen_part(prepared(v2.Resize((64, 64))), 500, 375) == (0, 0, 500, 375)
    assert seen_part(prepared(v2.CenterCrop(100)), 500, 400) == pytest.approx((200, 150, 300, 250), abs=1.5)
    assert seen_part(prepared(), 40, 30) == (0, 0, 40, 30)


@pytest.mark.parametrize(
    "transform",
    [
        v2.RandomHorizontalFlip(p=1.0),
        v2.RandomVerticalFlip(p=1.0),
        v2.RandomRotation((90, 90)),
        v2.RandomRotation((10, 10)),
        v2.CenterCrop(600),
        v2.Pad(30),
        v2.Grayscale(3),
        v2.RandomInvert(p=1.0),
    ],
    ids=lambda transform: type(transform).__name__,
)
def test_anything_else_is_not_guessed(transform):
    assert seen_part(prepared(transform, v2.Resize(64)), 500, 375) is None


def test_a_photograph_of_two_pixels():
    assert seen_part(plain_preprocessing(size=8), 2, 2) is None
