"""Map leakage, normalized curves and energy beyond area, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from camtrain.metrics import (
    DeletionAUC,
    EnergyBeyondArea,
    EnergyPointingGame,
    InsertionAUC,
    MapLeakage,
    NormalizedDeletionAUC,
    NormalizedInsertionAUC,
    map_leakage,
)

NAN = math.nan


def test_leakage_by_hand():
    plain = torch.tensor([[0.1, 0.2], [0.5, 0.5], [NAN, 0.1], [NAN, NAN]])
    masked = torch.tensor([[0.7, 0.1], [0.5, 0.9], [NAN, 0.4], [NAN, NAN]])
    # A gain of 0.6 and a loss, which counts as 0; none and 0.4; 0.3 over the only content; nothing.
    expected = [0.3, 0.2, 0.3, NAN]
    assert map_leakage(plain, masked).tolist() == pytest.approx(expected, nan_ok=True)
    metric = MapLeakage()
    metric.update(plain, masked)
    assert float(metric.compute()) == pytest.approx(0.8 / 3)
    assert int(metric.counted) == 3
    assert not metric.higher_is_better


def test_leakage_names_what_is_wrong():
    half = torch.full((2, 2), 0.5)
    with pytest.raises(ValueError, match="`masked_content_probabilities`: expected the shape of"):
        map_leakage(half, half[:, :1])
    with pytest.raises(ValueError, match=r"`content_probabilities`: expected probabilities in \[0, 1\], got 2"):
        map_leakage(half * 4, half)
    gap = torch.tensor([[NAN, 0.5], [0.5, 0.5]])
    with pytest.raises(ValueError, match="`content_probabilities`: expected NaN only where `masked_content"):
        map_leakage(gap, half)
    with pytest.raises(TypeError, match="`content_probabilities`"):
        map_leakage([0.5], half)


def test_normalized_curves_by_hand():
    rising = torch.tensor([[0.0, 0.4, 0.8], [0.2, 0.2, 0.2]])  # areas 0.4 and 0.2; the whole images: 0.8 and 0.2
    insertion, raw = NormalizedInsertionAUC(2), InsertionAUC(2)
    assert float(insertion(rising)) == pytest.approx(0.6 / 1.0)
    assert float(raw(rising)) == pytest.approx(0.3)
    assert insertion.image_scores(insertion.rows(rising)).tolist() == pytest.approx([0.5, 1.0])
    deletion = NormalizedDeletionAUC(2)
    assert float(deletion(rising.flip(1))) == pytest.approx(0.6)
    assert float(DeletionAUC(2)(rising.flip(1))) == pytest.approx(0.3)
    # A network that is half as sure of everything is as good.
    assert float(NormalizedInsertionAUC(2)(rising / 2)) == pytest.approx(0.6)
    assert insertion.higher_is_better
    assert not deletion.higher_is_better


def test_energy_beyond_area_by_hand():
    boxes = [torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([[0.0, 0.0, 4.0, 2.0]]), torch.zeros(0, 4)]
    cams = torch.ones(3, 4, 4)
    metric = EnergyBeyondArea()
    metric.update(cams, boxes)
    assert float(metric.compute()) == pytest.approx(0, abs=1e-6)  # a uniform map
    cams[0, :2, :2] = 13  # an energy of 52 in 64 on a fourth of the image; 1/2 on a half
    metric, raw = EnergyBeyondArea(), EnergyPointingGame()
    energy, area = (52 / 64 + (52 - 0) / 104) / 2, (1 / 4 + 1 / 2) / 2
    metric.update(cams, boxes)
    raw.update(cams, boxes)
    assert float(raw.compute()) == pytest.approx(energy)
    assert float(metric.compute()) == pytest.approx((energy - area) / (1 - area))
    rows = metric.rows(cams, boxes)
    expected = [(52 / 64 - 1 / 4) / (3 / 4), 0, NAN]
    assert metric.image_scores(rows).tolist() == pytest.approx(expected, nan_ok=True, abs=1e-6)
    everything = [torch.tensor([[0.0, 0.0, 4.0, 4.0]])]
    assert math.isnan(EnergyBeyondArea()(cams[:1], everything))
    outside = torch.zeros(1, 4, 4)
    outside[0, 3, 3] = 1
    assert float(EnergyBeyondArea()(outside, boxes[:1])) == pytest.approx(-1 / 3)


def test_an_object_that_fills_its_image_does_not_count_beyond_its_area():
    """A map on the object scores 1, whatever the map of the other image is."""
    cams = torch.zeros(2, 4, 4)
    cams[0, :2, :2] = 1
    boxes = [torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([[0.0, 0.0, 4.0, 4.0]])]
    for second in (0.0, 1.0):
        cams[1] = second
        metric = EnergyBeyondArea()
        metric.update(cams, boxes)
        assert float(metric.compute()) == 1
        assert int(metric.counted) == 1
        assert float(metric.area) == 0.25
