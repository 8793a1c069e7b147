"""What every metric inherits from `AdditiveScore`: its score is a function of a sum over images."""

from __future__ import annotations

import pytest
import torch

from tests.metrics.examples import NAMES, N, example, of_images


@pytest.mark.parametrize("name", NAMES)
def test_parts_add_up_in_any_order_and_in_any_split(name):
    score, arguments = example(name)
    score.update(*arguments)
    whole = score.compute()
    assert bool(whole.isfinite().any())
    other, _ = example(name)
    for part in (slice(7, 12), slice(0, 3), slice(3, 7)):
        other.update(*of_images(arguments, part))
    torch.testing.assert_close(other.compute(), whole, rtol=1e-6, atol=1e-7, equal_nan=True)
    merged, _ = example(name)
    merged.update(*of_images(arguments, slice(0, 5)))
    rest, _ = example(name)
    rest.update(*of_images(arguments, slice(5, 12)))
    merged.merge_state(rest)
    torch.testing.assert_close(merged.compute(), whole, rtol=1e-6, atol=1e-7, equal_nan=True)


@pytest.mark.parametrize("name", NAMES)
def test_a_row_does_not_depend_on_the_other_images(name):
    score, arguments = example(name)
    rows = score.rows(*arguments)
    assert rows.shape == (N, len(score.total))
    alone = torch.cat([score.rows(*of_images(arguments, slice(i, i + 1))) for i in range(N)])
    torch.testing.assert_close(rows, alone, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_values_of_many_sums_are_those_of_each(name):
    score, arguments = example(name)
    rows = score.rows(*arguments).double()
    weights = torch.randint(0, 3, (6, N), generator=torch.Generator().manual_seed(1)).double()
    sums = weights @ rows
    expected = torch.stack([score.value(one) for one in sums])
    torch.testing.assert_close(score.value(sums), expected, equal_nan=True)
    torch.testing.assert_close(score.value(sums.view(2, 3, -1)).flatten(0, 1), expected, equal_nan=True)


@pytest.mark.parametrize("name", NAMES)
def test_weighted_sums_are_repeated_images(name):
    score, arguments = example(name)
    rows = score.rows(*arguments).double()
    score.update(*arguments)
    score.update(*of_images(arguments, slice(2, 4)))
    weights = torch.ones(N, dtype=torch.float64)
    weights[2:4] = 2
    torch.testing.assert_close(score.value(weights @ rows).float(), score.compute(), equal_nan=True)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_counted_is_nan_and_reset_forgets(name):
    score, arguments = example(name)
    assert bool(score.value(score.total).isnan().all())
    score.update(*arguments)
    score.reset()
    assert not score.total.any()
    score.update(*of_images(arguments, slice(0, 0)))
    assert not score.total.any()


@pytest.mark.parametrize("name", NAMES)
def test_it_says_which_way_is_better(name):
    score, _ = example(name)
    lower_is_better = ("AverageDrop", "DeletionAUC", "GradientNoise", "MapLeakage", "NormalizedDeletionAUC")
    assert score.higher_is_better == (name not in lower_is_better)
    assert score.is_differentiable is False


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_is_counted_in_full(name):
    score, arguments = example(name)
    low = tuple(
        each.to(torch.bfloat16) if isinstance(each, torch.Tensor) and each.is_floating_point() else each
        for each in arguments
    )
    high = tuple(each.float() if isinstance(each, torch.Tensor) and each.is_floating_point() else each for each in low)
    torch.testing.assert_close(score.rows(*low).double(), score.rows(*high).double(), rtol=1e-3, atol=1e-3)
