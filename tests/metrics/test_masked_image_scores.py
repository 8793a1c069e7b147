"""Average drop, increase, gain and wins, compared with values by hand and with loops over images."""

from __future__ import annotations

import math

import pytest
import torch

from camtrain.metrics import AverageDrop, AverageGain, AverageIncrease, Win, WinShare, drop, gain, increase, wins

SCORES = torch.tensor([0.8, 0.5, 0.6, 0.0, 1.0, 1.0])
MASKED = torch.tensor([0.2, 0.9, 0.6, 0.3, 1.0, 0.25])


def test_by_hand():
    torch.testing.assert_close(drop(SCORES, MASKED), torch.tensor([0.75, 0.0, 0.0, 0.0, 0.0, 0.75]))
    assert increase(SCORES, MASKED).tolist() == [0, 1, 0, 1, 0, 0]
    torch.testing.assert_close(gain(SCORES, MASKED), torch.tensor([0.0, 0.8, 0.0, 0.3, 0.0, 0.0]))


def test_against_loops():
    generator = torch.Generator().manual_seed(0)
    scores, masked = torch.rand(2, 200, generator=generator)
    pairs = list(zip(scores.tolist(), masked.tolist(), strict=True))
    expected = {
        AverageDrop: sum(max(0, y - o) / y for y, o in pairs),
        AverageIncrease: sum(y < o for y, o in pairs),
        AverageGain: sum(max(0, o - y) / (1 - y) for y, o in pairs),
    }
    for metric, total in expected.items():
        assert float(metric()(scores, masked)) == pytest.approx(total / 200, rel=1e-5)


def test_wins_by_hand():
    # Drops of three methods: 0.75, 0.5, 0.5 on the first image; 0, 0, 0.5 on the second.
    scores, masked = torch.tensor([0.8, 0.5]), torch.tensor([[0.2, 0.4, 0.4], [0.6, 0.9, 0.25]])
    nan = math.nan
    expected = torch.tensor([[[nan, 0, 0], [1, nan, 0], [1, 0, nan]], [[nan, 0, 1], [0, nan, 1], [0, 0, nan]]])
    torch.testing.assert_close(wins(scores, masked), expected, equal_nan=True)
    metric = Win(3)
    metric.update(scores, masked)
    torch.testing.assert_close(metric.compute(), expected.mean(dim=0), equal_nan=True)
    for method, share in enumerate((0.25, 0.5, 0.25)):
        assert float(WinShare()(scores, masked, method)) == share


def test_a_method_without_a_map_is_not_compared():
    scores, masked = torch.tensor([0.8, 0.8]), torch.tensor([[0.2, 0.4, math.nan], [0.2, 0.4, 0.1]])
    assert WinShare().rows(scores, masked, 2).tolist() == [[0, 0], [0, 1]]
    metric = Win(3)
    metric.update(scores, masked)
    assert float(metric.compute()[1, 2]) == 1.0
    assert metric.total[9:].view(3, 3)[1].tolist() == [2, 0, 1]
    # A single method has nobody to beat.
    assert WinShare()(scores, masked[:, :1], 0).isnan()


@pytest.mark.parametrize("metric", [AverageDrop, AverageIncrease, AverageGain])
@pytest.mark.parametrize(
    ("scores", "masked", "message"),
    [
        (
            torch.tensor([3.0]),
            torch.tensor([0.5]),
            r"`probabilities`: expected probabilities in \[0, 1\], got 3; apply softmax",
        ),
        (torch.tensor([0.5]), torch.tensor([math.nan]), "`masked_probabilities`: expected probabilities .*, got nan"),
        (torch.tensor([0.5]), torch.tensor([-0.1]), "got -0.1"),
        (
            torch.tensor([0.5]),
            torch.tensor([0.5, 0.5]),
            r"`masked_probabilities`: expected the shape of `probabilities`, \(1,\), got \(2,\)",
        ),
        (torch.tensor([1]), torch.tensor([1]), "`probabilities`: expected a floating-point tensor"),
    ],
)
def test_bad_input_is_named(metric, scores, masked, message):
    with pytest.raises(ValueError, match=message):
        metric().update(scores, masked)


def test_bad_wins_are_named():
    for count in (0, -1):  # (-1)² methods would be one
        with pytest.raises(ValueError, match="`num_methods`: expected a positive integer"):
            Win(count)
    with pytest.raises(ValueError, match=r"`compared_probabilities`: .* of shape \(N, M\)"):
        wins(torch.tensor([0.5]), torch.tensor([0.5]))
    with pytest.raises(ValueError, match=r"`compared_probabilities`: .* of shape \(N, 2\)"):
        Win(2).update(torch.tensor([0.5]), torch.tensor([[0.5, 0.1, 0.2]]))
    with pytest.raises(ValueError, match="`compared_probabilities`: expected 2 images, as `probabilities` has, got 1"):
        wins(torch.tensor([0.5, 0.5]), torch.tensor([[0.5]]))
    for method in (2, -1, 0.0, True):
        with pytest.raises(ValueError, match="`method`: expected an index from 0 to 1, got"):
            WinShare().update(torch.tensor([0.5]), torch.tensor([[0.5, 0.1]]), method)
