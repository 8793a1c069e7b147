from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from camtrain.cams import normalize, resize
from camtrain.metrics.max_box_accuracy import MaxBoxAccuracy, box_ious

# The maps of wsolevaluation's own unit tests with the boxes that it expects at thresholds 0, 0.2, 0.4, 0.6 and 0.8,
# half-open: it gives x + width, but for the edge of the map, where it gives the last pixel. (0.6 is 153 of 255, and no
# pixel of 0.6 is above a threshold of 0.6.)
UNIMODAL = [[0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.4, 0.4, 0.4, 0.6], [0.0, 0.4, 1.0, 0.8, 0.6], [0.0, 0.4, 0.4, 0.4, 0.6]]
UNIMODAL_BOXES = [[1, 1, 5, 4], [1, 1, 5, 4], [2, 1, 5, 4], [2, 2, 4, 3], [2, 2, 3, 3]]
# Where it expects another box: at 0.2 it takes three pixels in an angle, whose outline has an area, and we five that
# are connected by a corner; at 0.6 it takes the right one of two single pixels, and we the left one.
MULTIMODAL = [[0.4, 0.0, 0.2, 0.2, 0.2], [0.4, 0.4, 0.0, 0.4, 0.0], [0.0, 0.0, 0.0, 0.4, 0.0],
              [1.0, 0.6, 0.8, 0.2, 0.2]]  # fmt: skip
MULTIMODAL_BOXES = [[0, 0, 5, 4], [0, 1, 4, 4], [0, 3, 3, 4], [0, 3, 1, 4], [0, 3, 1, 4]]


def maps(count, seed=0, size=(40, 48), cells=5):
    generator = torch.Generator().manual_seed(seed)
    return normalize(resize(torch.rand(count, cells, cells, generator=generator), size))


def boxes(count, seed=1, size=(40, 48), most=3):
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        x, y = (np.sort(generator.integers(0, length + 1, (most, 2)), axis=1) for length in size[::-1])
        of_image = np.stack([x[:, 0], y[:, 0], x[:, 1] + 1, y[:, 1] + 1], axis=1)[: generator.integers(1, most + 1)]
        found.append(torch.from_numpy(of_image).float())
    return found


def iou(first, second):
    """Of two half-open boxes."""
    width = max(0, min(first[2], second[2]) - max(first[0], second[0]))
    height = max(0, min(first[3], second[3]) - max(first[1], second[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return width * height / (sum(areas) - width * height)


def loop_ious(cam, of_image, *, largest):
    """wsolevaluation's loop over thresholds, with OpenCV's components in the place of its contours, which count holes
    too, and with half-open boxes."""
    pixels = (cam.double().numpy() * 255).astype(np.uint8)
    found = []
    for k in range(255):
        mask = (pixels > int(k / 255 * int(pixels.max()) + 1e-9)).astype(np.uint8)
        _, _, statistics, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        components = [(x, y, x + w, y + h, area) for x, y, w, h, area in statistics[1:].tolist()]
        if largest:
            components = sorted(components, key=lambda each: (-each[4], each[1], each[0]))[:1]
        scores = [iou(each[:4], box) for each in components for box in of_image.tolist()]
        found.append(max(scores, default=0.0))
    return torch.tensor(found, dtype=torch.float64)


@pytest.mark.parametrize(
    ("cam", "expected"), [(UNIMODAL, UNIMODAL_BOXES), (MULTIMODAL, MULTIMODAL_BOXES)], ids=["unimodal", "multimodal"]
)
def test_published_cases_of_wsolevaluation(cam, expected):
    for threshold, box in zip((0, 0.2, 0.4, 0.6, 0.8), expected, strict=True):
        ious = box_ious(torch.tensor(cam), torch.tensor([box]).float(), largest=True)
        assert float(ious[round(threshold * 255)]) == 1.0


@pytest.mark.parametrize("largest", [True, False])
def test_ious_are_those_of_a_loop_over_thresholds(largest):
    for cam, of_image in zip(maps(8), boxes(8), strict=True):
        torch.testing.assert_close(
            box_ious(cam, of_image, largest=largest), loop_ious(cam, of_image, largest=largest), rtol=1e-12, atol=1e-12
        )


@pytest.mark.parametrize("largest", [True, False])
def test_ious_of_noise_and_of_maps_that_do_not_reach_one(largest):
    noise = torch.rand(12, 11, generator=torch.Generator().manual_seed(0))
    for cam in (noise, 0.3 * noise, 0.002 * noise):
        (of_image,) = boxes(1, seed=3, size=(12, 11))
        expected = loop_ious(cam, of_image, largest=largest)
        torch.testing.assert_close(box_ious(cam, of_image, largest=largest), expected, rtol=1e-12, atol=1e-12)


def test_more_thresholds_find_no_other_boxes():
    """The code's 1000 thresholds, and OpenCV's outlines of components, without those of holes."""
    cams, truth = maps(12, seed=10), boxes(12, seed=11)
    hits = np.zeros((3, 1000))
    for cam, of_image in zip(cams, truth, strict=True):
        pixels = (cam.double().numpy() * 255).astype(np.uint8)
        for place, threshold in enumerate(np.arange(0, 1, 0.001)):
            _, above = cv2.threshold(pixels, int(threshold * np.max(pixels)), 255, cv2.THRESH_BINARY)
            outlines, hierarchy = cv2.findContours(above, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
            rectangles = [
                cv2.boundingRect(o) for o, (*_, parent) in zip(outlines, hierarchy[0], strict=True) if parent < 0
            ]
            found = [(x, y, x + width, y + height) for x, y, width, height in rectangles]
            best = max(iou(each, box) for each in found for box in of_image.tolist())
            hits[:, place] += best >= np.array([0.3, 0.5, 0.7])
    assert float(MaxBoxAccuracy("v2")(cams, truth)) == pytest.approx(hits.max(axis=1).mean() / 12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_maps_of_other_precisions_are_cut_in_full(dtype):
    cam = torch.rand(15, 17, generator=torch.Generator().manual_seed(1)).to(dtype)
    (of_image,) = boxes(1, seed=12, size=(15, 17))
    expected = loop_ious(cam, of_image, largest=False)
    torch.testing.assert_close(box_ious(cam, of_image, largest=False), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_one_threshold_holds_for_the_whole_set(version):
    cams, truth = maps(20, seed=4), boxes(20, seed=5)
    metric = MaxBoxAccuracy(version)
    metric.update(cams, truth)
    levels = [0.5] if version == "v1" else [0.3, 0.5, 0.7]
    ious = torch.stack([loop_ious(*each, largest=version == "v1") for each in zip(cams, truth, strict=True)])
    expected = np.mean([float((ious >= level).double().mean(dim=0).max()) for level in levels])
    assert float(metric.compute()) == pytest.approx(expected)
    # The best threshold of each image by itself would flatter.
    assert np.mean([float((ious.amax(dim=1) >= level).double().mean()) for level in levels]) > expected
    for level, threshold in zip(levels, metric.thresholds.tolist(), strict=True):
        at = (ious >= level).double().mean(dim=0)
        assert float(at[round(threshold * 255)]) == float(at.max())


def test_image_scores_are_at_the_threshold_of_the_set():
    cams, truth = maps(20, seed=4), boxes(20, seed=5)
    metric = MaxBoxAccuracy("v2")
    rows = metric.rows(cams, truth)
    scores = metric.image_scores(rows)
    assert float(scores.mean()) == pytest.approx(float(metric.value(rows.sum(dim=0))))
    assert bool((metric.value(rows) >= scores).all())


def test_a_map_of_the_box_scores_one_and_zeros_score_nothing():
    box = torch.tensor([[4.0, 6.0, 20.0, 30.0]])
    cam = torch.zeros(2, 40, 48)
    cam[0, 6:30, 4:20] = 1
    for version in ("v1", "v2"):
        metric = MaxBoxAccuracy(version)
        metric.update(cam, [box, box])
        assert float(metric.compute()) == 0.5
        assert metric.image_scores(metric.rows(cam, [box, box])).tolist() == [1.0, 0.0]


@pytest.mark.parametrize(("rows", "expected"), [(3, 1 / 3), (5, 2 / 3), (7, 1.0)])
def test_an_iou_of_just_so_much_is_enough(rows, expected):
    cam = torch.zeros(1, 12, 12)
    cam[0, :10, :4] = 1
    assert float(MaxBoxAccuracy("v2")(cam, [torch.tensor([[0.0, 0.0, 4.0, rows]])])) == pytest.approx(expected)


def test_images_without_a_box_are_not_counted():
    cams, truth = maps(4, seed=6), boxes(4, seed=7)
    metric, expected = MaxBoxAccuracy(), MaxBoxAccuracy()
    metric.update(torch.cat([cams, cams[:1]]), [*truth, torch.zeros(0, 4)])
    expected.update(cams, truth)
    assert torch.equal(metric.total, expected.total)
    assert int(metric.counted) == 4
    assert MaxBoxAccuracy().value(torch.zeros(766)).isnan()


def test_a_mask_counts_as_the_smallest_box_around_it():
    masks = torch.zeros(3, 40, 48, dtype=torch.bool)
    masks[0, 3, 5], masks[0, 20, 40], masks[1, 10:30, 12] = True, True, True
    around = [torch.tensor([[5.0, 3.0, 41.0, 21.0]]), torch.tensor([[12.0, 10.0, 13.0, 30.0]]), torch.zeros(0, 4)]
    metric = MaxBoxAccuracy()
    assert torch.equal(metric.rows(maps(3), masks), metric.rows(maps(3), around))


def test_merging_halves_gives_the_whole():
    cams, truth = maps(6, seed=8), boxes(6, seed=9)
    whole, half = MaxBoxAccuracy(), MaxBoxAccuracy()
    whole.update(cams, truth)
    half.update(cams[:2], truth[:2])
    half.update(cams[2:], truth[2:])
    assert torch.equal(whole.total, half.total)


@pytest.mark.parametrize(
    ("cams", "of_images", "message"),
    [
        (torch.full((1, 4, 4), 2.0), [torch.zeros(1, 4)], "normalize the maps first"),
        (torch.full((1, 4, 4), torch.nan), [torch.zeros(1, 4)], r"`cams`: expected values in \[0, 1\], got NaN"),
        (torch.zeros(2, 4, 4), [torch.zeros(1, 4)], "`annotation`: expected 2 images, as `cams` has, got 1"),
        (
            torch.zeros(1, 4, 4),
            [torch.zeros(4)],
            r"`annotation`: .*one \(M, 4\) tensor of boxes per image, got \(4,\) for image 0",
        ),
        (torch.zeros(1, 4, 4), [torch.tensor([[3.0, 0.0, 1.0, 2.0]])], "x0 ≤ x1"),
        (torch.zeros(1, 4, 4), [torch.tensor([[0.0, 0.0, 3.0, 9.0]])], "width 4 and height 4, .* for image 0"),
    ],
)
def test_bad_input_is_named(cams, of_images, message):
    with pytest.raises(ValueError, match=message):
        MaxBoxAccuracy().update(cams, of_images)


def test_there_are_two_versions():
    with pytest.raises(ValueError, match="`version`: expected 'v1' or 'v2', got 'v3'"):
        MaxBoxAccuracy("v3")
