from __future__ import annotations

import math

import pytest
import torch

from camtrain.metrics import AverageDrop, AverageIncrease
from camtrain.metrics.probabilities import checked_probabilities


def test_rounding_is_tolerated_and_undone():
    found = checked_probabilities("probabilities", torch.tensor([-5e-4, 0.0, 0.25, 1.0, 1.0005]))
    assert found.tolist() == [0.0, 0.0, 0.25, 1.0, 1.0]


@pytest.mark.parametrize("value", [-2e-3, 1.002, math.nan, math.inf, -math.inf])
def test_more_than_rounding_is_an_error(value):
    with pytest.raises(ValueError, match=r"`probabilities`: expected probabilities in \[0, 1\], got .*apply softmax"):
        checked_probabilities("probabilities", torch.tensor([0.5, value]))


@pytest.mark.parametrize(
    ("given", "kept"),
    [(torch.float16, torch.float32), (torch.bfloat16, torch.float32), (torch.float64, torch.float64)],
)
def test_at_least_float32(given, kept):
    assert checked_probabilities("probabilities", torch.tensor([0.5], dtype=given)).dtype == kept


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_scores_of_half_precision_are_those_of_the_same_numbers_in_full(dtype):
    scores, masked = torch.rand(2, 50, generator=torch.Generator().manual_seed(0)).to(dtype)
    for metric in (AverageDrop, AverageIncrease):
        assert torch.equal(metric().rows(scores, masked), metric().rows(scores.float(), masked.float()))


def test_many_small_contributions_are_not_lost():
    """The sum is taken in float64: in float32, 2^24 + 1 = 2^24."""
    metric = AverageIncrease()
    metric.total += torch.tensor([2.0**24, 2.0**24], dtype=torch.float64)
    metric.update(torch.tensor([0.2, 0.9]), torch.tensor([0.5, 0.1]))
    assert metric.total.tolist() == [2**24 + 1, 2**24 + 2]


def test_a_batch_is_summed_in_float64():
    """A million times 0.1f: the error of a float32 sum exceeds the rounding error of one term."""
    scores = torch.full((1_000_000,), 1.0)
    metric = AverageDrop()
    metric.update(scores, torch.full_like(scores, 0.9))
    one = float(metric.rows(scores[:1], torch.tensor([0.9]))[0, 0])
    assert float(metric.total[0]) == pytest.approx(one * 1_000_000, rel=1e-12)
