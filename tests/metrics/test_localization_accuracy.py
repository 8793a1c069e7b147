"""Top-1 Loc, Top-5 Loc and GT-known Loc, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from camtrain.cams import normalize, resize
from camtrain.metrics import LocalizationAccuracy, MaxBoxAccuracy, is_in_top

# Four images of 10 × 10. The map is 1 on a strip of 4 columns and ½ on one that is as wide, to the right of it.
BOX_OF_ONES, BOX_OF_BOTH = torch.tensor([[1.0, 0.0, 5.0, 10.0]]), torch.tensor([[1.0, 0.0, 9.0, 10.0]])
LABELS = torch.tensor([0, 1, 2, 3])


def strips():
    cams = torch.zeros(4, 10, 10)
    cams[:, :, 1:5], cams[:, :, 5:9] = 1.0, 0.5
    return cams


def predicted(*places, classes=7):
    """Probabilities in which the label of each image has a place: 0 is the most probable class."""
    probabilities = torch.zeros(len(places), classes)
    for index, place in enumerate(places):
        order = [each for each in range(classes) if each != index]
        order.insert(place, index)
        probabilities[index, order] = torch.linspace(0.9, 0.0, classes)
    return probabilities


def test_by_hand():
    """The box of the ones is right on images 0 and 1, that of both strips on image 2; image 3 has another object."""
    boxes = [BOX_OF_ONES, BOX_OF_ONES, BOX_OF_BOTH, torch.tensor([[0.0, 8.0, 10.0, 10.0]])]
    probabilities = predicted(0, 4, 1, 0)
    arguments = (strips(), boxes, probabilities, LABELS)
    # An IoU of exactly ½ is enough: 4 of 8 columns. So either box is right on images 0 to 2.
    assert float(LocalizationAccuracy()(strips(), boxes)) == pytest.approx(3 / 4)
    assert float(LocalizationAccuracy(top_k=1)(*arguments)) == pytest.approx(1 / 4)
    assert float(LocalizationAccuracy(top_k=2)(*arguments)) == pytest.approx(2 / 4)
    assert float(LocalizationAccuracy(top_k=5)(*arguments)) == pytest.approx(3 / 4)


def test_threshold_of_all_images_by_hand():
    """Objects of 3 columns need the threshold above ½ on two images (IoU 3/4 against 3/8), and one of 7 the other."""
    few, many = torch.tensor([[1.0, 0.0, 4.0, 10.0]]), torch.tensor([[2.0, 0.0, 9.0, 10.0]])
    boxes = [few, few, many, torch.zeros(0, 4)]
    metric = LocalizationAccuracy()
    rows = metric.rows(strips(), boxes)
    assert float(metric.value(rows.sum(dim=0))) == pytest.approx(2 / 3)
    assert metric.image_scores(rows).tolist()[:3] == [1.0, 1.0, 0.0]
    assert math.isnan(float(metric.image_scores(rows)[3]))
    assert 0.49 < metric.best_threshold(rows.sum(dim=0)) < 1
    for threshold, hits in ((0.2, [0.0, 0.0, 1.0]), (0.6, [1.0, 1.0, 0.0])):
        given = LocalizationAccuracy(threshold=threshold)
        assert given.image_scores(rows)[:3].tolist() == hits
        assert float(given.value(rows.sum(dim=0))) == pytest.approx(sum(hits) / 3)
        assert given.best_threshold(rows.sum(dim=0)) == threshold
        several = torch.stack([rows.sum(dim=0), rows[:2].sum(dim=0)])
        assert given.value(several).tolist() == pytest.approx([sum(hits) / 3, hits[0]])


def test_gt_known_is_max_box_accuracy():
    generator = torch.Generator().manual_seed(0)
    cams = normalize(resize(torch.rand(12, 5, 5, generator=generator), (40, 48)))
    corners = torch.rand(12, 1, 2, 2, generator=generator).sort(dim=2).values * torch.tensor([48.0, 40.0])
    boxes = list(corners.flatten(2))
    first, other = LocalizationAccuracy(), MaxBoxAccuracy("v1")
    assert torch.equal(first.rows(cams, boxes), other.rows(cams, boxes))
    assert float(first(cams, boxes)) == float(other(cams, boxes))


def test_of_fewer_classes_than_k_every_label_is_among_them():
    assert is_in_top(torch.tensor([[0.9, 0.1]]), torch.tensor([1]), 5).tolist() == [True]
    # A network that knows nothing is right on one class, not on all.
    assert int(is_in_top(torch.full((3, 3), 1 / 3), torch.arange(3), 1).sum()) == 1


def test_no_image_counted():
    metric = LocalizationAccuracy()
    assert metric.value(torch.zeros(256)).isnan()
    assert math.isnan(metric.best_threshold(torch.zeros(256)))


@pytest.mark.parametrize("settings", [{"top_k": 0}, {"threshold": 1.0}, {"threshold": -0.1}, {"threshold": math.nan}])
def test_bad_settings(settings):
    with pytest.raises(ValueError, match=f"`{next(iter(settings))}`: expected"):
        LocalizationAccuracy(**settings)


def test_missing_probabilities():
    with pytest.raises(ValueError, match="`class_probabilities`, `labels`: expected both for Top-1 Loc, got None"):
        LocalizationAccuracy(top_k=1).update(strips(), [BOX_OF_ONES] * 4)
    with pytest.raises(ValueError, match="`class_probabilities`: expected 4 images, as `labels` has, got 2"):
        LocalizationAccuracy(top_k=1).update(strips(), [BOX_OF_ONES] * 4, predicted(0, 0), LABELS)
    with pytest.raises(TypeError, match="`threshold`: expected a number"):
        LocalizationAccuracy(threshold="best")
