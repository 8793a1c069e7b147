from __future__ import annotations

from collections import Counter

import pytest

from camtrain.data.stratified_split import stratified_split

LABELS = [0] * 40 + [1] * 20 + [2] * 10


def test_parts_are_disjoint_complete_and_stratified():
    kept, held_out = stratified_split(LABELS, 0.3, seed=0)
    assert sorted(kept + held_out) == list(range(70))
    assert Counter(LABELS[index] for index in held_out) == {0: 12, 1: 6, 2: 3}
    assert (kept, held_out) == (sorted(kept), sorted(held_out))


def test_seed_decides():
    assert stratified_split(LABELS, 0.3, seed=1) == stratified_split(LABELS, 0.3, seed=1)
    assert stratified_split(LABELS, 0.3, seed=1) != stratified_split(LABELS, 0.3, seed=2)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan")])
def test_fraction_out_of_range(fraction):
    with pytest.raises(ValueError, match=r"`test_fraction`: expected a fraction between 0 and 1"):
        stratified_split(LABELS, fraction, seed=0, argument="test_fraction")


@pytest.mark.parametrize(
    ("labels", "fraction"),
    [
        ([0, 0, 0, 0, 1], 0.4),  # a class of one image
        ([0, 0, 1, 1, 2, 2], 0.2),  # two images to hold out, three classes
        ([0] * 100 + [1] * 2, 0.1),  # enough to hold out, but none of the rare class
        ([], 0.5),
    ],
)
def test_class_without_an_image_on_one_side(labels, fraction):
    with pytest.raises(ValueError, match=f"`val_fraction`: {fraction} of {len(labels)} images .* without an image"):
        stratified_split(labels, fraction, seed=0)
