from __future__ import annotations

import pytest
import torch
from scipy.stats import hmean, pearsonr

from camtrain.cams import normalize, resize
from camtrain.metrics import ADCC, adcc, coherency, complexity


def maps(seed, count=6):
    return normalize(resize(torch.rand(count, 3, 3, generator=torch.Generator().manual_seed(seed)), (12, 10)))


def test_parts_are_those_of_the_authors_code():
    """Compare with aimagelab/ADCC: (pearsonr + 1) / 2 and |map|.sum() / (H W). (Its `adcc` multiplies where the paper
    divides.)"""
    first, second = maps(0), maps(1)
    correlations = [
        (pearsonr(a, b).statistic + 1) / 2
        for a, b in zip(first.flatten(1).double().numpy(), second.flatten(1).double().numpy(), strict=True)
    ]
    torch.testing.assert_close(coherency(first, second).double(), torch.tensor(correlations), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(complexity(first), first.abs().sum(dim=(1, 2)) / 120)


def test_it_is_the_harmonic_mean_of_each_image():
    first, second = maps(2), maps(3)
    scores, masked = torch.rand(2, 6, generator=torch.Generator().manual_seed(4))
    parts = coherency(first, second), 1 - complexity(first), 1 - ((scores - masked).clamp(min=0) / scores)
    expected = [hmean(each) for each in torch.stack(parts, dim=1).double().tolist()]
    metric = ADCC()
    rows = metric.rows(first, second, scores, masked)
    torch.testing.assert_close(
        metric.image_scores(rows), torch.tensor(expected, dtype=torch.float64), rtol=1e-5, atol=0
    )
    metric.update(first, second, scores, masked)
    assert metric.parts["coherency"] == pytest.approx(float(parts[0].mean()), rel=1e-5)
    assert metric.parts["complexity"] == pytest.approx(1 - float(parts[1].mean()), rel=1e-5)
    assert metric.parts["drop"] == pytest.approx(1 - float(parts[2].mean()), rel=1e-5)


def test_mean_of_harmonic_means_is_not_the_harmonic_mean_of_means():
    """The paper does not say which of the two it is; they differ for two images that fail in different ways."""
    sure, bent = torch.tensor([0.8, 0.8]), maps(5, 2)
    masked = torch.tensor([0.8, 0.08])  # one image loses nothing, the other 90 %
    metric = ADCC()
    metric.update(bent, bent, sure, masked)
    left, kept = 1 - complexity(bent), torch.tensor([1.0, 0.1])
    of_each = [hmean([1.0, float(a), float(b)]) for a, b in zip(left, kept, strict=True)]
    assert float(metric.compute()) == pytest.approx(sum(of_each) / 2, rel=1e-5)
    assert float(metric.compute()) < hmean([1.0, float(left.mean()), float(kept.mean())]) - 0.02


def test_rounding_of_maps_is_tolerated_and_undone():
    assert complexity(torch.tensor([[[1.0, 1.0000005]], [[0.0, -5e-7]]])).tolist() == [1.0, 0.0]
    for value in (1.001, -0.001):
        with pytest.raises(ValueError, match=r"`cams`: expected values in \[0, 1\]"):
            complexity(torch.tensor([[[0.5, value]]]))


def test_flat_maps():
    zeros, bent = torch.zeros(1, 4, 4), maps(5, 1)[:, :4, :4]
    assert coherency(zeros, zeros).tolist() == [1.0]
    assert coherency(zeros, bent).tolist() == [0.5]
    assert complexity(torch.ones(1, 4, 4)).tolist() == [1.0]
    assert adcc(torch.tensor([1.0]), torch.tensor([1.0]), torch.tensor([0.0])).tolist() == [0.0]


def test_maps_must_be_normalized():
    with pytest.raises(ValueError, match=r"`cams`: expected values in .*; normalize the maps first"):
        complexity(torch.full((1, 2, 2), 3.0))
    with pytest.raises(ValueError, match="`cams`"):
        complexity(torch.full((1, 2, 2), torch.nan))


@pytest.mark.parametrize("value", [torch.nan, 12.0, -0.5])
def test_parts_are_fractions(value):
    half, bad = torch.tensor([0.5]), torch.tensor([value])
    for parts in ((bad, half, half), (half, bad, half), (half, half, bad)):
        with pytest.raises(ValueError, match=r"`coherencies`, `complexities` and `drops`: expected values in \[0, 1\]"):
            adcc(*parts)


def test_sizes_are_named():
    with pytest.raises(
        ValueError,
        match=r"`cams`: expected a floating-point tensor of shape \(N, H, W\), got torch.float32 of shape \(4, 4\)",
    ):
        complexity(torch.rand(4, 4))
    with pytest.raises(ValueError, match="`probabilities`: expected 2 images, as `cams` has, got 3"):
        ADCC().update(torch.rand(2, 4, 4), torch.rand(2, 4, 4), torch.rand(3), torch.rand(3))
