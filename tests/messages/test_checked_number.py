"""What is a number, and what is within its bounds."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch

from camtrain.messages import (
    checked_fraction,
    checked_integer,
    checked_number,
    checked_numbers,
    checked_seed,
    positive_integer,
)

NO_NUMBERS = (None, "", "0.5", True, np.bool_(True), [0.5], (0.5,), {}, 1j, Decimal("0.5"), torch.tensor([0.5]), float)


@pytest.mark.parametrize(
    "value", [0.5, 1, Fraction(1, 2), np.float32(0.5), np.int64(1), np.array(0.5), torch.tensor(1)]
)
def test_numbers_come_back_as_numbers_of_python(value):
    found = checked_number("x", value, at_least=0)
    assert found == value
    assert isinstance(found, (int, float, Fraction))
    assert not hasattr(found, "item")


@pytest.mark.parametrize("value", NO_NUMBERS, ids=repr)
def test_what_is_no_number(value):
    with pytest.raises(TypeError, match="`x`: expected a positive, finite number, got "):
        checked_number("x", value, above=0)
    with pytest.raises(TypeError, match="`x`: expected a positive integer, got "):
        positive_integer("x", value)
    with pytest.raises(TypeError, match="`x`: expected two, got "):
        checked_numbers("x", [1, value], "two")


@pytest.mark.parametrize("value", [2.5, 2.0, math.nan, math.inf, np.float64(3), 0, -1])
def test_integers_are_whole(value):
    with pytest.raises(ValueError, match="`x`: expected a positive integer, got "):
        positive_integer("x", value)


@pytest.mark.parametrize(
    ("bounds", "inside", "outside", "words"),
    [
        ({}, (-1e30, 0), (math.inf, -math.inf, 10**400), "a finite number"),
        ({"at_least": 0}, (0, 1e30), (-1e-30, math.inf), "a finite number of at least 0"),
        ({"above": 0}, (1e-30,), (0, -1, math.inf), "a positive, finite number"),
        ({"above": 0, "finite": False}, (1e-30, math.inf), (0, -math.inf), "a positive number"),
        ({"above": 2}, (2.1,), (2,), "a finite number above 2"),
        ({"at_most": 2}, (2, -9), (2.1, -math.inf), "a number of at most 2"),
        ({"below": 2}, (1.9,), (2,), "a number below 2"),
        ({"at_least": 0, "at_most": 1}, (0, 1), (-0.1, 1.1), r"a number in \[0, 1\]"),
        ({"at_least": 0, "below": 1}, (0, 0.9), (1,), r"a number in \[0, 1\)"),
        ({"above": 0, "at_most": 1}, (0.1, 1), (0,), r"a number in \(0, 1\]"),
    ],
)
def test_bounds(bounds, inside, outside, words):
    for value in inside:
        assert checked_number("x", value, **bounds) == value
    for value in (*outside, math.nan):
        with pytest.raises(ValueError, match=rf"^`x`: expected {words}, got -?\w"):
            checked_number("x", value, **bounds)


def test_fractions():
    for zero, one, words in (
        (True, True, r"in \[0, 1\]"),
        (False, True, r"in \(0, 1\]"),
        (True, False, r"in \[0, 1\)"),
        (False, False, "between 0 and 1"),
    ):
        ends = [value for value, is_in in ((0, zero), (1, one)) if is_in]
        for value in (*ends, 0.5):
            assert checked_fraction("x", value, zero=zero, one=one) == value
        for value in {0, 1, -0.1, 1.1, math.nan}.difference(ends):
            with pytest.raises(ValueError, match=f"`x`: expected a fraction {words}, got {value}"):
                checked_fraction("x", value, zero=zero, one=one)


def test_sequences_of_numbers():
    assert checked_numbers("x", np.array([1.0, 2.0]), "two", 2) == (1.0, 2.0)
    for value in (0.5, "12", None, torch.tensor(1.0)):
        with pytest.raises(TypeError, match="`x`: expected two, got "):
            checked_numbers("x", value, "two", 2)
    for value in ((1,), (1, 2, 3), (1, math.nan), (1, math.inf), (0, 1)):
        with pytest.raises(ValueError, match="`x`: expected two, got "):
            checked_numbers("x", value, "two", 2, above=0)


def test_seeds():
    generator = torch.Generator()
    for seed in (0, -(2**63), 2**64 - 1):
        generator.manual_seed(checked_seed("seed", seed))
    for seed in (2**64, -(2**63) - 1, 1.0):
        with pytest.raises(ValueError, match="`seed`: expected an integer"):
            checked_seed("seed", seed)


def test_a_long_value_is_cut():
    with pytest.raises(TypeError) as raised:
        checked_integer("x", "y" * 10_000)
    assert len(str(raised.value)) < 200
