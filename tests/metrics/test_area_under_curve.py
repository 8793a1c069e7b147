from __future__ import annotations

import numpy as np
import pytest
import torch

from camtrain.metrics import DeletionAUC, InsertionAUC, area_under_curve


def rise_auc(arr):
    """The formula of RISE's evaluation.py."""
    return (arr.sum() - arr[0] / 2 - arr[-1] / 2) / (arr.shape[0] - 1)


def test_area_is_that_of_rise():
    curves = torch.rand(20, 13, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = [rise_auc(curve) for curve in curves.numpy()]
    np.testing.assert_allclose(area_under_curve(curves), expected, rtol=1e-12)
    for metric in (InsertionAUC(12), DeletionAUC(12)):
        metric.update(curves)
        assert float(metric.compute()) == pytest.approx(np.mean(expected))
        np.testing.assert_allclose(metric.curve, curves.mean(dim=0), rtol=1e-6)
        # RISE reports the area under the mean curve, which is the mean of the areas.
        assert float(metric.compute()) == pytest.approx(rise_auc(curves.mean(dim=0).numpy()))
        np.testing.assert_allclose(metric.image_scores(metric.rows(curves)), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("curves", "message"),
    [
        (
            torch.rand(2, 4),
            r"`insertion_curves`: .* of shape \(N, 5\), got torch.float32 of shape \(2, 4\)",
        ),
        (torch.rand(5), r"of shape \(N, 5\), got torch.float32 of shape \(5,\)"),
        (torch.full((1, 5), 2.0), "`insertion_curves`: expected probabilities"),
    ],
)
def test_bad_curves_are_named(curves, message):
    with pytest.raises(ValueError, match=message):
        InsertionAUC(4).update(curves)


def test_one_point_is_no_curve():
    with pytest.raises(ValueError, match=r"`curves`: expected at least two points, got \(3, 1\)"):
        area_under_curve(torch.rand(3, 1))


def test_there_must_be_steps():
    with pytest.raises(ValueError, match="`num_steps`"):
        InsertionAUC(0)
