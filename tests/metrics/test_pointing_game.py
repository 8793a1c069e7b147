from __future__ import annotations

import pytest
import torch

from camtrain.metrics import PointingGame, box_regions, pointing_hits


def torchray_hit(mask, point, tolerance):
    """The rule of TorchRay: some pixel of the object lies in the open disk around the point (u, v)."""
    v, u = torch.meshgrid(
        (torch.arange(mask.shape[0]).float() - point[1]) ** 2,
        (torch.arange(mask.shape[1]).float() - point[0]) ** 2,
        indexing="ij",
    )
    return float((mask & (v + u < tolerance**2)).any())


def scene(count=60, size=(40, 50)):
    generator = torch.Generator().manual_seed(0)
    cams = torch.rand(count, *size, generator=generator)
    corners = torch.rand(count, 2, generator=generator) * torch.tensor([40.0, 30.0])
    return cams, [torch.cat([corner, corner + 9]).unsqueeze(0) for corner in corners]


@pytest.mark.parametrize("tolerance", [1, 3, 7.5, 15])
def test_hits_are_those_of_torchray(tolerance):
    cams, boxes = scene()
    masks = box_regions(boxes, (40, 50))
    expected = []
    for cam, mask in zip(cams, masks, strict=True):
        row, column = divmod(int(cam.argmax()), 50)
        expected.append(torchray_hit(mask, (column, row), tolerance))
    assert pointing_hits(cams, masks, tolerance).tolist() == expected
    assert 0 < sum(expected) < 60


def test_a_random_map_hits_as_often_as_the_object_is_large():
    generator = torch.Generator().manual_seed(1)
    cams = torch.rand(4000, 10, 10, generator=generator)
    masks = torch.zeros(4000, 10, 10, dtype=torch.bool)
    masks[:, 2:6, 3:8] = True
    assert float(pointing_hits(cams, masks, 0).mean()) == pytest.approx(0.2, abs=0.02)


def test_with_a_tolerance_it_hits_as_often_as_the_grown_object_is_large():
    generator = torch.Generator().manual_seed(2)
    mask = torch.zeros(24, 30, dtype=torch.bool)
    mask[8:12, 6:14] = mask[20, 25] = True
    grown = [torchray_hit(mask, (u, v), 4) for v in range(24) for u in range(30)]
    share = sum(grown) / len(grown)
    hits = pointing_hits(torch.rand(4000, 24, 30, generator=generator), mask.expand(4000, 24, 30), 4)
    assert float(hits.mean()) == pytest.approx(share, abs=0.024)  # 3 standard errors
    assert share > 2 * float(mask.float().mean())


def test_mean_over_classes():
    cams, boxes = scene()
    labels = (torch.arange(60) % 7 > 0).long() * 3  # few of class 0, many of class 3, none of 1 and 2
    hits = pointing_hits(cams, box_regions(boxes, (40, 50)), 15)
    metric = PointingGame(num_classes=4, tolerance=15)
    metric.update(cams, boxes, labels)
    expected = (hits[labels == 0].mean() + hits[labels == 3].mean()) / 2
    assert float(metric.compute()) == pytest.approx(float(expected))
    assert float(metric.accuracy) == pytest.approx(float(hits.mean()))
    assert int(metric.counted) == 60
    pooled = PointingGame(tolerance=15)
    pooled.update(cams, boxes)
    assert float(pooled.compute()) == pytest.approx(float(hits.mean()))


def test_the_usual_tolerance_is_15_pixels_at_224():
    cam = torch.zeros(1, 224, 300)
    cam[0, 100, 100] = 1
    near, far = ([torch.tensor([[x, 100.0, x + 1, 101.0]])] for x in (114.0, 115.0))
    assert float(PointingGame()(cam, near)) == 1
    assert float(PointingGame()(cam, far)) == 0
    assert float(PointingGame()(cam[:, 84:116, 84:124], [torch.tensor([[18.0, 16.0, 19.0, 17.0]])])) == 1  # 2.1 pixels
    assert float(PointingGame()(cam[:, 84:116, 84:124], [torch.tensor([[19.0, 16.0, 20.0, 17.0]])])) == 0


def test_flat_maps_miss_and_unannotated_images_do_not_count():
    cams = torch.stack([torch.ones(8, 8), torch.eye(8)])
    whole, none = torch.tensor([[0.0, 0.0, 8.0, 8.0]]), torch.zeros(0, 4)
    assert pointing_hits(cams, box_regions([whole, whole], (8, 8))).tolist() == [0, 1]
    assert pointing_hits(cams, box_regions([none, none], (8, 8))).isnan().all()
    metric = PointingGame()
    assert metric.rows(cams, [whole, none]).tolist() == [[0, 1], [0, 0]]


def test_of_several_maxima_the_first_counts():
    cam = torch.zeros(1, 1, 9)
    cam[0, 0, 2] = cam[0, 0, 7] = 1
    assert pointing_hits(cam, box_regions([torch.tensor([[2.0, 0.0, 3.0, 1.0]])], (1, 9)), 0).tolist() == [1]
    assert pointing_hits(cam, box_regions([torch.tensor([[7.0, 0.0, 8.0, 1.0]])], (1, 9)), 0).tolist() == [0]


def test_bad_input_is_named():
    box = [torch.tensor([[0.0, 0.0, 2.0, 2.0]])]
    with pytest.raises(ValueError, match="`tolerance`: expected a finite number of at least 0 pixels, got -1"):
        PointingGame(tolerance=-1)
    with pytest.raises(ValueError, match="`labels`: expected classes from 0 to 2, got 3 to 3"):
        PointingGame(3).update(torch.eye(4).unsqueeze(0), box, torch.tensor([3]))
    with pytest.raises(ValueError, match="`cams`: expected finite values, got NaN"):
        PointingGame().update(torch.full((1, 4, 4), torch.nan), box)
    with pytest.raises(ValueError, match="`annotation`: expected 2 images, as `cams` has, got 1"):
        PointingGame().update(torch.zeros(2, 4, 4), box)
