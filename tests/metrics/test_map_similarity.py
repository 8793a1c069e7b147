from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import pearsonr, rankdata, spearmanr
from torchmetrics.functional.image import structural_similarity_index_measure

from camtrain.metrics import ClassSensitivity, ParameterRandomization, class_sensitivity, map_similarity
from camtrain.metrics.map_similarity import mean_ranks


def pair(seed=0, count=5, ties=False):
    generator = torch.Generator().manual_seed(seed)
    first, noise = torch.rand(2, count, 14, 13, generator=generator)
    second = 0.5 * first + 0.5 * noise
    return ((8 * first).floor() / 8, (8 * second).floor() / 8) if ties else (first, second)


def flat_pairs(first, second):
    return zip(first.flatten(1).double().numpy(), second.flatten(1).double().numpy(), strict=True)


@pytest.mark.parametrize("ties", [False, True])
def test_correlations_are_scipy_s(ties):
    first, second = pair(ties=ties)
    expected = [spearmanr(a, b).statistic for a, b in flat_pairs(first, second)]
    assert map_similarity(first, second).tolist() == pytest.approx(expected, abs=1e-6)
    expected = [pearsonr(a, b).statistic for a, b in flat_pairs(first, second)]
    assert map_similarity(first, second, "pearson").tolist() == pytest.approx(expected, abs=1e-6)


def test_ranks_are_scipy_s():
    values = torch.randint(0, 5, (3, 40), generator=torch.Generator().manual_seed(0)).float()
    for found, row in zip(mean_ranks(values), values, strict=True):
        assert found.tolist() == (rankdata(row.numpy()) - 1).tolist()


def ssim_loop(first, second):
    """SSIM of Wang et al. 2004, pixel by pixel: Gaussian window of 11 x 11, sigma 1.5, mirrored at the edges."""
    weights = [math.exp(-((step / 1.5) ** 2) / 2) for step in range(-5, 6)]
    total = sum(weights)
    a, b = first.double().tolist(), second.double().tolist()
    height, width = len(a), len(a[0])

    def mirrored(index, size):
        return -index if index < 0 else 2 * (size - 1) - index if index >= size else index

    values = []
    for y in range(height):
        for x in range(width):
            moments = [0.0] * 5
            for i, vertical in enumerate(weights):
                for j, horizontal in enumerate(weights):
                    row, column = mirrored(y + i - 5, height), mirrored(x + j - 5, width)
                    p, q, weight = a[row][column], b[row][column], vertical * horizontal / total**2
                    for index, moment in enumerate((p, q, p * p, q * q, p * q)):
                        moments[index] += weight * moment
            p, q, pp, qq, pq = moments
            alike = (2 * p * q + 0.01**2) * (2 * (pq - p * q) + 0.03**2)
            values.append(alike / ((p * p + q * q + 0.01**2) * (pp - p * p + qq - q * q + 0.03**2)))
    return sum(values) / len(values)


@pytest.mark.usefixtures("double_by_default")
def test_ssim_matches_a_loop_with_a_range_of_one():
    first, second = pair(count=2)
    # The range is 1, and not the range of these values.
    first, second = 0.3 * first, 0.3 * second
    expected = [ssim_loop(a, b) for a, b in zip(first, second, strict=True)]
    assert map_similarity(first, second, "ssim").tolist() == pytest.approx(expected, abs=1e-9)


def test_correlation_of_values_that_hardly_differ():
    values = 1000 + torch.randint(0, 8, (1, 9, 9), generator=torch.Generator().manual_seed(0)) * 1e-4
    cam = torch.rand(1, 9, 9, generator=torch.Generator().manual_seed(1))
    (expected,) = [pearsonr(a, b).statistic for a, b in flat_pairs(values, cam)]
    assert map_similarity(values, cam, "pearson").tolist() == pytest.approx([expected], abs=1e-6)


def test_scores_use_the_similarity_that_they_are_given():
    first, second = pair()
    expected = float(1 - map_similarity(first, second, "pearson").clamp(min=0).mean())
    assert float(ClassSensitivity("pearson")(first, second)) == pytest.approx(expected, abs=1e-6)
    assert float(ParameterRandomization(1, "pearson")(first, second[:, None])) == pytest.approx(expected, abs=1e-6)
    assert float(ClassSensitivity()(first, second)) != pytest.approx(expected, abs=1e-4)


@pytest.mark.usefixtures("double_by_default")
def test_ssim_scores_each_image_alone():
    first, second = pair()
    expected = [
        float(structural_similarity_index_measure(a[None, None], b[None, None], data_range=1.0))
        for a, b in zip(first, second, strict=True)
    ]
    assert map_similarity(first, second, "ssim").tolist() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("kind", ["spearman", "pearson", "ssim"])
def test_a_map_is_like_itself_and_flat_maps_are_defined(kind):
    cam = pair()[0][:1]
    flat = torch.full_like(cam, 0.3)
    assert map_similarity(cam, cam, kind).tolist() == pytest.approx([1.0])
    assert map_similarity(flat, torch.zeros_like(cam), kind).tolist() == [1.0]
    assert map_similarity(flat, cam, kind).tolist() == map_similarity(cam, flat, kind).tolist() == [0.0]
    assert map_similarity(cam[:0], cam[:0], kind).shape == (0,)


def test_bad_input_is_named():
    cam = torch.rand(1, 12, 12)
    with pytest.raises(ValueError, match=r"`second`: expected the shape of `first`, \(1, 12, 12\), got \(1, 6, 12\)"):
        map_similarity(cam, cam[:, :6])
    with pytest.raises(ValueError, match="`second`: expected finite values"):
        map_similarity(cam, torch.full_like(cam, torch.nan))
    with pytest.raises(ValueError, match="`kind`: expected 'spearman', 'pearson' or 'ssim', got 'hog'"):
        map_similarity(cam, cam, "hog")
    with pytest.raises(ValueError, match=r"`first`: expected sides of at least 6 pixels, got \(5, 12\)"):
        map_similarity(cam[:, :5], cam[:, :5], "ssim")


def test_class_sensitivity_by_hand():
    first, second = pair()
    expected = [1 - max(0.0, spearmanr(a, b).statistic) for a, b in flat_pairs(first, second)]
    assert class_sensitivity(first, second).tolist() == pytest.approx(expected, abs=1e-6)
    assert float(ClassSensitivity()(first, second)) == pytest.approx(sum(expected) / 5, abs=1e-6)
    assert class_sensitivity(first, 1 - first).tolist() == [1.0] * 5
    assert class_sensitivity(first, first).tolist() == pytest.approx([0.0] * 5, abs=1e-6)


def test_parameter_randomization_by_hand():
    first, second = pair()
    stages = torch.stack([first, second, 1 - first], dim=1)
    metric = ParameterRandomization(3)
    metric.update(first, stages)
    similar = [spearmanr(a, b).statistic for a, b in flat_pairs(first, second)]
    assert float(metric.compute()) == pytest.approx((0 + sum(1 - one for one in similar) / 5 + 1) / 3, abs=1e-6)
    assert metric.curve.tolist() == pytest.approx([1.0, sum(similar) / 5, -1.0], abs=1e-6)
    with pytest.raises(
        ValueError, match=r"`randomized_cams`: .*\(N, 2, H, W\), got torch.float32 of shape \(5, 3, 14, 13\)"
    ):
        ParameterRandomization(2).update(first, stages)
