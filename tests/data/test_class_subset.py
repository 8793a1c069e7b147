from __future__ import annotations

import pytest

from camtrain.data.class_subset import class_subset

FRUIT = ["apple", "banana", "cherry"]


def test_all_classes_by_default():
    assert class_subset(FRUIT, None) == FRUIT


def test_wanted_classes_are_numbered_as_they_are_named():
    assert class_subset(FRUIT, ["cherry", "apple"]) == ["cherry", "apple"]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (["bananna"], r"`classes`: .* no class 'bananna'; did you mean 'banana'\?"),
        (["apple", "qqq"], r"`classes`: .* no class 'qqq'; there are 'apple', 'banana', 'cherry'"),
        (["apple", "cherry", "apple"], r"`classes`: expected each class once, got 'apple' more than once"),
        ([], r"`classes`: .* empty list"),
    ],
)
def test_bad_classes(wanted, message):
    with pytest.raises(ValueError, match=message):
        class_subset(FRUIT, wanted)
