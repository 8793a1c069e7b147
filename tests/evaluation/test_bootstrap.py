from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from camtrain.evaluation.bootstrap import (
    combined_interval,
    mean_difference_interval,
    resampling_weights,
    score_interval,
)
from camtrain.evaluation.score import shown_interval, verdict
from camtrain.metrics.additive_score import AdditiveScore


class Mean(AdditiveScore):
    def __init__(self) -> None:
        super().__init__(row_length=2)

    def rows(self, values: Tensor) -> Tensor:
        known = values.isfinite()
        return torch.stack([values.nan_to_num(), known.double()], dim=1)

    def value(self, total: Tensor) -> Tensor:
        return total[..., 0] / total[..., 1]


def test_weights_are_draws_with_replacement():
    weights = resampling_weights(50, 400, seed=3)
    assert weights.shape == (400, 50)
    assert torch.equal(weights.sum(dim=1), torch.full((400,), 50.0, dtype=torch.float64))
    # Each count is binomial with n = 50, p = 1/50: mean 1, variance 0.98.
    assert abs(float(weights.var()) - 0.98) < 0.03
    assert torch.equal(weights, resampling_weights(50, 400, seed=3))
    assert not torch.equal(weights, resampling_weights(50, 400, seed=4))
    assert resampling_weights(0, 2).shape == (2, 0)


def test_interval_is_that_of_a_loop_over_resamples():
    generator = torch.Generator().manual_seed(1)
    values = torch.rand(40, generator=generator, dtype=torch.float64)
    weights = resampling_weights(40, 300, seed=5)
    drawn = [np.repeat(values.numpy(), row.astype(int)).mean() for row in weights.numpy()]
    found = score_interval(Mean(), Mean().rows(values), weights, level=0.9)
    assert found.value == pytest.approx(float(values.mean()))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, [0.05, 0.95])))


def test_interval_covers_the_truth_as_often_as_it_says():
    generator = torch.Generator().manual_seed(2)
    weights = resampling_weights(60, 400)
    hits = 0
    for _ in range(200):
        found = score_interval(Mean(), Mean().rows(torch.rand(60, generator=generator)), weights)
        hits += found.low <= 0.5 <= found.high
    assert 0.89 <= hits / 200 <= 0.99


def test_what_makes_images_hard_cancels_in_a_difference():
    generator = torch.Generator().manual_seed(3)
    hardness = torch.rand(80, generator=generator, dtype=torch.float64)
    better = hardness + 0.01
    weights = resampling_weights(80)
    rows, other = Mean().rows(hardness), Mean().rows(better)
    found = combined_interval(Mean(), [(-1, rows), (1, other)], weights)
    assert tuple(found) == pytest.approx((0.01, 0.01, 0.01))
    alone = score_interval(Mean(), rows, weights)
    assert alone.high - alone.low > 0.1


def test_images_that_are_not_counted():
    values = torch.tensor([1.0, math.nan, math.nan, 3.0])
    found = score_interval(Mean(), Mean().rows(values), resampling_weights(4, 500))
    assert found.value == 2
    # A resample without images 0 and 3 has no score, and is left out.
    assert (found.low, found.high) == (1, 3)
    nothing = score_interval(Mean(), Mean().rows(values[1:3]), resampling_weights(2, 10))
    assert all(map(math.isnan, nothing))


def test_bad_input_is_named():
    rows = torch.ones(3, 2)
    with pytest.raises(ValueError, match="`num_resamples`"):
        resampling_weights(3, 0)
    with pytest.raises(ValueError, match="`level`: expected a number between 0 and 1, got 95"):
        score_interval(Mean(), rows, resampling_weights(3), level=95)
    with pytest.raises(ValueError, match=r"`signed_rows`: expected rows of one shape, got \(3, 2\) and \(2, 2\)"):
        combined_interval(Mean(), [(-1, rows), (1, rows[:2])], resampling_weights(3))


def test_one_counted_image_has_no_spread():
    weights = resampling_weights(2)
    both = Mean().rows(torch.tensor([0.3, 0.1]))
    assert score_interval(Mean(), both, weights).low < score_interval(Mean(), both, weights).high
    alone = Mean().rows(torch.tensor([0.3, math.nan]))
    for found in (
        score_interval(Mean(), alone, weights),
        combined_interval(Mean(), [(-1, alone), (1, both * torch.tensor([[1.0], [0.0]]))], weights),
        mean_difference_interval(torch.zeros(1), torch.ones(1), resampling_weights(1)),
    ):
        assert math.isnan(found.low)
        assert math.isnan(found.high)
        assert verdict(found, higher_is_better=True) == ""
        assert shown_interval(found) == f"{100 * found.value:.1f}"
