"""Loc(δ) of Grad-CAM++, compared with values by hand and with a loop."""

from __future__ import annotations

import pytest
import torch

from camtrain.cams import normalize, resize
from camtrain.metrics import LocalizationIoU, localization_iou, regions

CAM = torch.tensor(
    [[
        [1.0, 0.6, 0.3, 0.0],
        [0.5, 0.4, 0.0, 0.0],
        [0.2, 0.0, 0.0, 0.1],
        [0.0, 0.0, 0.0, 0.0],
    ]]
)  # fmt: skip
BOX = [torch.tensor([[0.0, 0.0, 2.0, 3.0]])]  # 6 pixels


@pytest.mark.parametrize(
    ("threshold", "internal", "external"),
    [(0.0, 5, 2), (0.25, 4, 1), (0.5, 2, 0), (0.6, 1, 0)],  # strictly above: 0.5 and 0.6 do not count at 0.5 and 0.6
)
def test_by_hand(threshold, internal, external):
    score = localization_iou(CAM, regions(BOX, (4, 4)), threshold)
    assert score.tolist() == pytest.approx([internal / (6 + external)])


def test_matches_a_loop_over_pixels():
    generator = torch.Generator().manual_seed(1)
    cams = torch.rand(6, 5, 7, generator=generator, dtype=torch.float64)
    truth = torch.rand(6, 5, 7, generator=generator) > 0.6
    for threshold in (0.0, 0.25, 0.5, 0.9):
        expected = []
        for cam, region in zip(cams.tolist(), truth.tolist(), strict=True):
            both = either = 0
            for i in range(5):
                for j in range(7):
                    both += cam[i][j] > threshold and region[i][j]
                    either += cam[i][j] > threshold or region[i][j]
            expected.append(both / either)
        assert localization_iou(cams, truth, threshold).tolist() == pytest.approx(expected)


def test_the_mask_itself_scores_one_and_everything_scores_the_area():
    mask = torch.rand(4, 8, 8, generator=torch.Generator().manual_seed(0)) > 0.7
    assert localization_iou(mask.float(), mask, 0.5).tolist() == [1.0] * 4
    area = mask.flatten(1).float().mean(dim=1)
    torch.testing.assert_close(localization_iou(torch.ones(4, 8, 8), mask, 0.5), area)


def test_a_map_that_shows_nothing_scores_zero_and_no_region_scores_nan():
    truth = regions([torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.zeros(0, 4), torch.zeros(0, 4)], (4, 4))
    cams = torch.stack([torch.zeros(4, 4), torch.ones(4, 4), torch.zeros(4, 4)])
    scores = localization_iou(cams, truth)
    assert scores[0] == 0
    assert scores[1:].isnan().all()


def test_half_precision_maps():
    assert localization_iou(CAM.half(), regions(BOX, (4, 4)), 0.25).item() == pytest.approx(4 / 7)


def test_a_normalized_map_may_be_resized_afterwards():
    cams = normalize(torch.rand(64, 3, 3, generator=torch.Generator().manual_seed(0)))
    sharp = resize(cams * (1 + 5e-7), (32, 32))  # above 1 by a rounding
    assert sharp.max() > 1
    assert localization_iou(sharp, torch.ones(64, 32, 32, dtype=torch.bool), 0.5).max() <= 1


def test_metric_is_the_mean_over_annotated_images_in_any_batches():
    generator = torch.Generator().manual_seed(2)
    cams = torch.rand(7, 6, 6, generator=generator)
    cams[3] = 0
    masks = torch.rand(7, 6, 6, generator=generator) > 0.5
    masks[5] = False
    scores = localization_iou(cams, masks, 0.5)
    expected = scores[[0, 1, 2, 3, 4, 6]].mean()
    whole, halves = LocalizationIoU(0.5), LocalizationIoU(0.5)
    whole.update(cams, masks)
    halves.update(cams[:3], masks[:3])
    halves.update(cams[3:], masks[3:])
    other = LocalizationIoU(0.5)
    other.update(cams[3:], masks[3:])
    merged = LocalizationIoU(0.5)
    merged.update(cams[:3], masks[:3])
    merged.merge_state(other)
    for metric in (whole, halves, merged):
        torch.testing.assert_close(metric.compute(), expected)
        assert (int(metric.counted), int(metric.without_annotation), int(metric.flat)) == (6, 1, 1)
        assert float(metric.flat_share) == pytest.approx(1 / 6)
        assert float(metric.area) == pytest.approx(float(masks[[0, 1, 2, 3, 4, 6]].float().mean()))


def test_forward_gives_the_score_of_the_batch():
    metric = LocalizationIoU(0.25)
    assert float(metric(CAM, BOX)) == pytest.approx(4 / 7)
    assert int(metric.flat) == 0
    assert float(metric(torch.zeros(1, 4, 4), BOX)) == 0.0
    assert float(metric.compute()) == pytest.approx(2 / 7)


def test_nothing_counted_is_nan_without_a_warning():
    metric = LocalizationIoU()
    metric.update(torch.rand(2, 4, 4), [torch.zeros(0, 4)] * 2)
    metric.update(torch.zeros(0, 4, 4), [])
    assert metric.compute().isnan()
    assert int(metric.without_annotation) == 2
    assert int(metric.flat) == 0


@pytest.mark.parametrize(
    ("cams", "message"),
    [
        (torch.full((1, 4, 4), 2.0), r"in \[0, 1\], got 2 to 2; normalize the maps first"),
        (torch.full((1, 4, 4), -0.5), "got -0.5 to -0.5"),
        (torch.full((1, 4, 4), float("nan")), "got NaN"),
        (torch.zeros(1, 4, 4, dtype=torch.int64), "floating-point"),
        (torch.zeros(4, 4), r"shape \(N, H, W\), got torch.float32 of shape \(4, 4\)"),
        (torch.zeros(2, 4, 4), "`annotation`: expected 2 images, as `cams` has, got 1"),
    ],
)
def test_bad_maps(cams, message):
    with pytest.raises(ValueError, match=message):
        LocalizationIoU().update(cams, BOX)


def test_one_nan_is_found_also_where_no_object_is_known():
    cams = torch.zeros(2, 4, 4)
    cams[1, 2, 2] = float("nan")
    with pytest.raises(ValueError, match="NaN"):
        LocalizationIoU().update(cams, [BOX[0], torch.zeros(0, 4)])


@pytest.mark.parametrize("threshold", [-0.1, 1.0, float("nan")])
def test_bad_threshold(threshold):
    with pytest.raises(ValueError, match="`threshold`"):
        LocalizationIoU(threshold)
    with pytest.raises(ValueError, match="`threshold`"):
        localization_iou(CAM, regions(BOX, (4, 4)), threshold)


def test_says_what_it_is():
    assert LocalizationIoU.higher_is_better
    assert not LocalizationIoU.is_differentiable
    assert not LocalizationIoU.full_state_update
