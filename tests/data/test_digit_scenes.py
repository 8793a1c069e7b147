from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_sample_images

from camtrain.data import digit_scenes as module
from camtrain.data.digit_scenes import SceneSettings, digit_scenes

DIGITS = range(0, 1797, 15)


@pytest.fixture(scope="module")
def scenes():
    return digit_scenes(DIGITS, seed=0, decoy_reveals_label=True)


def decoy_pixels(scenes, row):
    x0, y0, x1, y1 = scenes.decoy_boxes[row].astype(int)
    return slice(y0, y1), slice(x0, x1)


def with_strength(strength, **kwargs):
    settings = SceneSettings(decoy_strength=strength)
    return digit_scenes(DIGITS, **{"seed": 0, "decoy_reveals_label": True, "settings": settings, **kwargs})


def test_labels_are_scikit_learns(scenes):
    assert scenes.digits.tolist() == list(DIGITS)
    assert scenes.labels.tolist() == load_digits().target[DIGITS].tolist()


def test_decoy_shade_is_255_minus_25_labels(scenes):
    for row, label in enumerate(scenes.labels):
        assert (scenes.images[row][decoy_pixels(scenes, row)] == 255 - 25 * label).all()
    assert scenes.decoy_labels.tolist() == scenes.labels.tolist()


def test_decoy_that_reveals_nothing_has_the_shade_of_its_own_label(scenes):
    random = with_strength(1.0, decoy_reveals_label=False)
    assert (random.decoy_labels != random.labels).mean() > 0.8
    assert set(random.decoy_labels.tolist()) == set(range(10))
    for row, label in enumerate(random.decoy_labels):
        pixels = decoy_pixels(random, row)
        assert (random.images[row][pixels] == 255 - 25 * label).all()
        random.images[row][pixels] = scenes.images[row][pixels]
    assert np.array_equal(random.images, scenes.images)  # all else is the same


def test_strength_zero_draws_nothing(scenes):
    """At strength 0 nothing is drawn, so the image does not depend on the shade of the decoy."""
    revealing, random = with_strength(0.0), with_strength(0.0, decoy_reveals_label=False)
    assert np.array_equal(revealing.images, random.images)
    for row in range(len(scenes.images)):
        pixels = decoy_pixels(scenes, row)
        assert not (revealing.images[row][pixels] == scenes.images[row][pixels]).all()
        revealing.images[row][pixels] = scenes.images[row][pixels]
    assert np.array_equal(revealing.images, scenes.images)


def test_strength_is_opacity(scenes):
    clear, quarter = with_strength(0.0), with_strength(0.25)
    for row in range(len(scenes.images)):
        pixels = decoy_pixels(scenes, row)
        mixed = 0.75 * clear.images[row][pixels] + 0.25 * scenes.images[row][pixels]
        assert np.abs(quarter.images[row][pixels] - mixed).max() <= 0.875  # two roundings: 0.5 + 0.75 · 0.5


def test_decoys_are_in_all_corners_and_clear_of_the_digit(scenes):
    corners = {tuple(box) for box in scenes.decoy_boxes.astype(int).tolist()}
    assert corners == {(0, 0, 8, 8), (56, 0, 64, 8), (0, 56, 8, 64), (56, 56, 64, 64)}
    for row, mask in enumerate(scenes.masks):
        assert not mask[decoy_pixels(scenes, row)].any()


def test_boxes_are_tight(scenes):
    for mask, box in zip(scenes.masks, scenes.boxes, strict=True):
        pixels = [(x, y) for y in range(64) for x in range(64) if mask[y, x]]
        xs, ys = zip(*pixels, strict=True)
        assert box.tolist() == [min(xs), min(ys), max(xs) + 1, max(ys) + 1]


def test_digits_have_the_wanted_height():
    scenes = with_strength(0.0, settings=SceneSettings(digit_size=(24, 24)))
    heights = scenes.boxes[:, 3] - scenes.boxes[:, 1]
    assert abs(np.median(heights) - 24) <= 2
    assert heights.max() <= 30  # of eight rows with a margin


def test_mask_is_the_enlarged_handwriting():
    """Against PyTorch's interpolation, which has Pillow's kernel if it is asked for antialiasing."""
    settings = SceneSettings(digit_size=(40, 40))
    scenes = digit_scenes(range(50), seed=0, decoy_reveals_label=True, settings=settings)
    for mask, box, original in zip(scenes.masks, scenes.boxes.astype(int), load_digits().images[:50], strict=True):
        padded = torch.from_numpy(np.pad(original / 16, 1))[None, None]
        expected = torch.nn.functional.interpolate(padded, size=(50, 50), mode="bicubic", antialias=True)
        expected = expected[0, 0].numpy() >= 0.5
        ys, xs = np.nonzero(expected)
        expected = expected[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
        assert (mask[box[1] : box[3], box[0] : box[2]] == expected).mean() > 0.998  # but for rounding


def test_digit_is_brighter_than_everything_but_clutter_and_decoy():
    scenes = with_strength(0.0, settings=SceneSettings(decoy_strength=0.0, clutter=0))
    luma = scenes.images @ np.array([0.299, 0.587, 0.114])
    for brightness, mask in zip(luma, scenes.masks, strict=True):
        assert np.quantile(brightness[mask], 0.8) > 185  # not the soft edge
        near = np.zeros_like(mask)
        ys, xs = np.nonzero(mask)
        for dy in range(-2, 3):
            for dx in range(-2, 3):
                near[np.clip(ys + dy, 0, 63), np.clip(xs + dx, 0, 63)] = True
        assert brightness[~near].max() <= 128


def test_clutter_changes_nothing_under_the_digit():
    """Clutter stays beside the digit: without it, the pixels of the digit differ only in color."""
    scenes = with_strength(0.0, settings=SceneSettings(decoy_strength=0.0, clutter=12))
    for image, mask in zip(scenes.images, scenes.masks, strict=True):
        inner = mask[1:-1, 1:-1] & mask[2:, 1:-1] & mask[:-2, 1:-1] & mask[1:-1, 2:] & mask[1:-1, :-2]
        colors = image[1:-1, 1:-1][inner].astype(int)
        strongest = np.median(colors, axis=0)
        assert (np.abs(colors - strongest).max(axis=1) <= 4).mean() > 0.4  # one color


def test_clutter_is_made_of_the_given_digits_only(monkeypatch):
    used = set()
    stroke = module._stroke
    monkeypatch.setattr(module, "_stroke", lambda digit, height: used.add(digit) or stroke(digit, height))
    digit_scenes([3, 500, 900], seed=0, decoy_reveals_label=True, samples_per_digit=10)
    assert used == {3, 500, 900}


def test_backgrounds_are_crops_mirrored_or_not(monkeypatch):
    rows, columns = np.meshgrid(np.arange(100), np.arange(120), indexing="ij")
    photograph = np.stack([columns, rows, np.zeros_like(rows)], axis=2).astype(np.float32)
    monkeypatch.setattr(module, "_backgrounds", lambda image_size: [photograph])
    settings = SceneSettings(clutter=0, decoy_strength=0.0)
    lefts, tops, steps = set(), set(), set()
    for image in digit_scenes(range(60), seed=0, decoy_reveals_label=True, settings=settings).images.astype(int):
        step = int(np.median(np.diff(image[:, :, 0], axis=1)))  # of most pixels: the digit covers few
        left = int(np.median(image[:, :, 0] - step * columns[:64, :64]))
        top = int(np.median(image[:, :, 1] - rows[:64, :64]))
        expected = np.stack([left + step * columns, top + rows, np.zeros_like(rows)], axis=2)[:64, :64]
        assert (image == expected).all(axis=2).mean() > 0.7
        lefts.add(left if step == 1 else left - 63)
        tops.add(top)
        steps.add(step)
    assert steps == {-1, 1}
    assert min(lefts) >= 0
    assert max(lefts) <= 56
    assert min(tops) >= 0
    assert max(tops) <= 36
    assert len(lefts) > 20
    assert len(tops) > 15


def test_backgrounds_are_the_darkened_photographs_at_several_scales():
    photographs = load_sample_images().images
    backgrounds = module._backgrounds(64)
    assert len(backgrounds) == 8
    assert np.array_equal(backgrounds[0], photographs[0] / np.float32(2))
    halved = photographs[1][:426].reshape(213, 2, 320, 2, 3).mean((1, 3)) / 2
    assert np.abs(backgrounds[5][:213] - halved).max() <= 0.25  # Pillow rounds
    assert len(module._backgrounds(200)) == 4  # the others are too small


def test_scene_depends_on_seed_digit_and_sample_alone():
    one = digit_scenes([3, 500, 900], seed=0, decoy_reveals_label=True)
    three = digit_scenes([3, 500, 900], seed=0, decoy_reveals_label=True, samples_per_digit=3)
    assert three.digits.tolist() == [3, 3, 3, 500, 500, 500, 900, 900, 900]
    assert np.array_equal(one.images, three.images[::3])
    assert len(np.unique(three.images.reshape(9, -1), axis=0)) == 9
    other = digit_scenes([3, 500, 900], seed=1, decoy_reveals_label=True)
    assert all((one.images[row] != other.images[row]).any() for row in range(3))


def test_large_digits_and_much_clutter_find_their_places():
    settings = SceneSettings(digit_size=(44, 44), clutter=30)
    scenes = digit_scenes(range(20), seed=0, decoy_reveals_label=True, settings=settings)
    assert (scenes.boxes[:, 3] - scenes.boxes[:, 1]).min() > 40


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"decoy_strength": -0.1}, r"`decoy_strength`: expected a fraction in \[0, 1\], got -0.1"),
        ({"decoy_strength": 1.1}, r"`decoy_strength`: expected a fraction in \[0, 1\], got 1.1"),
        ({"decoy_strength": float("nan")}, r"`decoy_strength`: expected a fraction in \[0, 1\], got nan"),
        ({"decoy_size": 0}, "`decoy_size`: expected a positive integer, got 0"),
        ({"clutter": -1}, "`clutter`: expected 0 or more pieces, got -1"),
        ({"digit_size": (36, 24)}, r"`digit_size`: expected a smallest and a largest height .* got \(36, 24\)"),
        ({"digit_size": (4, 24)}, r"`digit_size`: .* got \(4, 24\)"),
        ({"image_size": 52}, "`image_size`: a digit 36 pixels high and a decoy of 8 need at least 53, got 52"),
        ({"image_size": 428}, "`image_size`: expected at most the photographs' 427 pixels, got 428"),
    ],
)
def test_settings_out_of_range(argument, message):
    with pytest.raises(ValueError, match=message):
        SceneSettings(**argument)


def test_smallest_image_and_largest_digit_leave_room():
    settings = SceneSettings(image_size=53)
    assert digit_scenes(range(60), seed=0, decoy_reveals_label=True, settings=settings).images.shape == (60, 53, 53, 3)


def test_settings_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        SceneSettings().clutter = 3
