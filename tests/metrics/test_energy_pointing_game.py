"""The proportion of Score-CAM, compared with values by hand and with a loop."""

from __future__ import annotations

import math

import pytest
import torch

from camtrain.metrics import EnergyPointingGame, energy_in_region, regions

CAM = torch.tensor(
    [[
        [4.0, 2.0, 1.0, 0.0],
        [2.0, 1.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 6.0],
        [0.0, 0.0, 0.0, 0.0],
    ]]
)  # fmt: skip


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        ([[0, 0, 2, 2]], 9 / 16),
        ([[0, 0, 2, 2], [1, 0, 3, 2]], 10 / 16),  # the overlap counts once
        ([[0, 0, 1, 1], [3, 2, 4, 3]], 10 / 16),
        ([[0, 3, 4, 4]], 0.0),
        ([[0, 0, 4, 4]], 1.0),
    ],
)
def test_by_hand(boxes, expected):
    truth = regions([torch.tensor(boxes).float()], (4, 4))
    assert energy_in_region(CAM, truth).tolist() == pytest.approx([expected])
    assert energy_in_region(1e-30 * CAM, truth).tolist() == pytest.approx([expected])
    assert energy_in_region(1e30 * CAM, truth).tolist() == pytest.approx([expected])


def test_matches_a_loop_over_pixels():
    generator = torch.Generator().manual_seed(1)
    cams = torch.rand(6, 5, 7, generator=generator, dtype=torch.float64)
    truth = torch.rand(6, 5, 7, generator=generator) > 0.6
    expected = []
    for cam, region in zip(cams.tolist(), truth.tolist(), strict=True):
        inside = total = 0.0
        for i in range(5):
            for j in range(7):
                total += cam[i][j]
                inside += cam[i][j] if region[i][j] else 0.0
        expected.append(inside / total)
    assert energy_in_region(cams, truth).tolist() == pytest.approx(expected, rel=1e-12)


def test_the_mask_itself_scores_one_and_a_uniform_map_the_area():
    mask = torch.rand(4, 8, 8, generator=torch.Generator().manual_seed(0)) > 0.7
    assert energy_in_region(mask.float(), mask).tolist() == [1.0] * 4
    area = mask.flatten(1).float().mean(dim=1)
    torch.testing.assert_close(energy_in_region(torch.full((4, 8, 8), 0.3), mask), area)
    metric = EnergyPointingGame()
    metric.update(torch.full((4, 8, 8), 0.3), mask)
    torch.testing.assert_close(metric.compute(), metric.area)


def test_a_random_map_scores_the_area_on_average():
    generator = torch.Generator().manual_seed(0)
    cams = torch.rand(500, 16, 16, generator=generator)
    metric = EnergyPointingGame()
    metric.update(cams, [torch.tensor([[2.0, 2.0, 10.0, 12.0]])] * 500)
    assert float(metric.area) == 80 / 256
    assert float(metric.compute()) == pytest.approx(80 / 256, abs=0.003)  # 3 standard errors


def test_matches_the_relevance_mass_accuracy_of_quantus():
    generator = torch.Generator().manual_seed(3)
    cams = torch.rand(5, 9, 11, generator=generator, dtype=torch.float64)
    truth = torch.rand(5, 9, 11, generator=generator) > 0.5
    a_batch, s_batch = cams.numpy().reshape(5, -1), truth.numpy().reshape(5, -1)
    expected = (a_batch * s_batch).sum(-1) / a_batch.sum(-1)
    assert energy_in_region(cams, truth).tolist() == pytest.approx(expected.tolist(), rel=1e-12)


def test_a_map_that_shows_nothing_scores_zero_and_no_region_scores_nan():
    truth = regions([torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.zeros(0, 4), torch.zeros(0, 4)], (4, 4))
    cams = torch.stack([torch.zeros(4, 4), torch.ones(4, 4), torch.zeros(4, 4)])
    scores = energy_in_region(cams, truth)
    assert scores[0] == 0
    assert scores[1:].isnan().all()


def test_half_precision_maps_do_not_overflow():
    truth = regions([torch.tensor([[0.0, 0.0, 32.0, 64.0]])], (64, 64))
    score = energy_in_region(torch.full((1, 64, 64), 100.0, dtype=torch.float16), truth)
    assert score.tolist() == pytest.approx([0.5])


def test_large_maps_are_summed_in_double_precision():
    cams = torch.rand(2, 500, 700, generator=torch.Generator().manual_seed(4)) ** 8
    truth = regions([torch.tensor([[40.0, 30.0, 600.0, 300.0]])] * 2, (500, 700))
    expected = []
    for cam, known in zip(cams.double().flatten(1).tolist(), truth.flatten(1).tolist(), strict=True):
        inside = math.fsum(value for value, is_known in zip(cam, known, strict=True) if is_known)
        expected.append(inside / math.fsum(cam))
    assert torch.equal(energy_in_region(cams, truth), torch.tensor(expected))
    # A sum that float32 cannot hold.
    left = regions([torch.tensor([[0.0, 0.0, 4.0, 8.0]])], (8, 8))
    assert energy_in_region(torch.full((1, 8, 8), 1e38), left).tolist() == [0.5]


def test_metric_is_the_mean_over_annotated_images_in_any_batches():
    generator = torch.Generator().manual_seed(2)
    cams = torch.rand(7, 6, 6, generator=generator)
    cams[3] = 0
    boxes = [torch.tensor([[0.0, 0.0, float(1 + k % 3), 4.0], [2.0, 2.0, 5.0, 3.0]]) for k in range(7)]
    boxes[5] = torch.zeros(0, 4)
    counted = [0, 1, 2, 3, 4, 6]
    expected = energy_in_region(cams, regions(boxes, (6, 6)))[counted].mean()
    whole, halves, first, last = (EnergyPointingGame() for _ in range(4))
    whole.update(cams, boxes)
    halves.update(cams[:3], boxes[:3])
    halves.update(cams[3:], boxes[3:])
    first.update(cams[:3], boxes[:3])
    last.update(cams[3:], boxes[3:])
    first.merge_state(last)
    for metric in (whole, halves, first):
        torch.testing.assert_close(metric.compute(), expected)
        assert (int(metric.counted), int(metric.without_annotation), int(metric.flat)) == (6, 1, 1)


def test_masks_that_are_nowhere_true_are_not_counted():
    metric = EnergyPointingGame()
    masks = torch.zeros(2, 4, 4, dtype=torch.bool)
    metric.update(torch.rand(2, 4, 4), masks)
    assert metric.compute().isnan()
    masks[0, 0, 0] = True
    metric.update(torch.ones(2, 4, 4), masks)
    assert float(metric.compute()) == 1 / 16
    assert (int(metric.counted), int(metric.without_annotation)) == (1, 3)
    metric.reset()
    assert (int(metric.counted), int(metric.without_annotation)) == (0, 0)


@pytest.mark.parametrize(
    ("value", "message"),
    [(-1.0, r"got -1 to 0; apply relu\(\)"), (float("nan"), "got NaN"), (float("inf"), "got 0 to inf")],
)
def test_bad_maps(value, message):
    cams = torch.zeros(1, 4, 4)
    cams[0, 1, 2] = value
    with pytest.raises(ValueError, match=message):
        EnergyPointingGame().update(cams, [torch.tensor([[0.0, 0.0, 2.0, 2.0]])])


def test_says_what_it_is():
    assert EnergyPointingGame.higher_is_better
    assert not EnergyPointingGame.is_differentiable
    assert not EnergyPointingGame.full_state_update
