from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from camtrain.metrics import PixelAveragePrecision


def scene(count=5, size=(20, 30)):
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand(count, *size, generator=generator) > 0.7
    cams = (torch.rand(count, *size, generator=generator) + 0.4 * masks).clamp(max=1)
    return cams, masks


def wsol_pxap(cams, masks, ignored=None, interval=0.001):
    """The MaskEvaluator of wsolevaluation, line by line."""
    thresholds = list(np.arange(0, 1, interval))
    edges = np.append(thresholds, [1.0, 2.0, 3.0])
    on, beside = np.zeros(len(thresholds) + 2), np.zeros(len(thresholds) + 2)
    for index, (cam, mask) in enumerate(zip(cams.numpy(), masks.numpy(), strict=True)):
        known = np.ones_like(mask) if ignored is None else ~ignored[index].numpy()
        on += np.histogram(cam[mask & known], bins=edges)[0]
        beside += np.histogram(cam[~mask & known], bins=edges)[0]
    tp, fp = on[::-1].cumsum(), beside[::-1].cumsum()
    non_zero = (tp + fp) != 0
    with np.errstate(invalid="ignore"):
        precision = tp / (tp + fp)
    recall = tp / on.sum()
    return (precision[1:] * np.diff(recall))[non_zero[1:]].sum()


def test_it_is_that_of_wsolevaluation():
    cams, masks = scene()
    # A value on the edge of a step may fall on either side of it there, where edges are k · 0.001 in floating point.
    cams = (cams * 1000).floor() / 1000 + 0.0005 * (cams < 1)
    assert float(PixelAveragePrecision()(cams.double(), masks)) == pytest.approx(wsol_pxap(cams.double(), masks))


def test_ignored_pixels_are_left_out():
    cams, masks = scene()
    cams = ((cams * 1000).floor() / 1000 + 0.0005 * (cams < 1)).double()
    ignored = (torch.rand(masks.shape, generator=torch.Generator().manual_seed(1)) > 0.8) & ~masks
    metric = PixelAveragePrecision()
    metric.update(cams, masks, ignored)
    assert float(metric.compute()) == pytest.approx(wsol_pxap(cams, masks, ignored))
    assert float(metric.compute()) > wsol_pxap(cams, masks)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_published_cases_of_wsolevaluation(value):
    """A perfect map scores 1, whatever its values on ignored pixels."""
    _, masks = scene()
    ignored = (torch.rand(masks.shape, generator=torch.Generator().manual_seed(1)) > 0.8) & ~masks
    metric = PixelAveragePrecision(100)
    metric.update(torch.where(ignored, value, masks.float()), masks, ignored)
    assert float(metric.compute()) == 1
    constant = PixelAveragePrecision(100)(torch.full(masks.shape, 0.5), masks)
    assert float(constant) == pytest.approx(float(masks.float().mean()))


def test_it_is_scikit_learn_s_average_precision_of_the_steps():
    cams, masks = scene()
    steps = (cams.double() * 40).floor()
    expected = average_precision_score(masks.flatten().numpy(), steps.flatten().numpy())
    assert float(PixelAveragePrecision(40)(cams, masks)) == pytest.approx(expected)


def test_pixels_of_all_images_are_pooled():
    """Two maps can be perfect for their own images and still have no threshold in common."""
    masks = torch.zeros(2, 4, 4, dtype=torch.bool)
    masks[:, :2] = True
    cams = torch.stack([torch.where(masks[0], 0.3, 0.1), torch.where(masks[1], 0.9, 0.6)])
    metric = PixelAveragePrecision()
    rows = metric.rows(cams, masks)
    assert metric.image_scores(rows).tolist() == [1.0, 1.0]
    # 8 of 8 at 0.9; at 0.3 another 8, of 24 pixels: 1/2 · 1 + 1/2 · 16/24.
    assert float(metric.value(rows.sum(dim=0))) == pytest.approx(0.5 + 0.5 * 16 / 24)


def test_expectations():
    _, masks = scene(40)
    assert float(PixelAveragePrecision()(masks.float(), masks)) == 1
    share = float(masks.float().mean())
    assert float(PixelAveragePrecision()(torch.ones_like(masks, dtype=torch.float32), masks)) == pytest.approx(share)
    assert float(PixelAveragePrecision()(torch.zeros_like(masks, dtype=torch.float32), masks)) == pytest.approx(share)
    noise = torch.rand(masks.shape, generator=torch.Generator().manual_seed(2))
    assert float(PixelAveragePrecision()(noise, masks)) == pytest.approx(share, abs=0.01)


def test_images_without_a_mask_are_not_counted():
    cams, masks = scene()
    metric = PixelAveragePrecision()
    metric.update(torch.cat([cams, cams]), torch.cat([masks, torch.zeros_like(masks)]))
    assert float(metric.compute()) == float(PixelAveragePrecision()(cams, masks))


def test_bad_input_is_named():
    cams, masks = scene()
    with pytest.raises(ValueError, match="normalize the maps first"):
        PixelAveragePrecision().update(2 * cams, masks)
    with pytest.raises(ValueError, match="`masks`: expected a bool tensor"):
        PixelAveragePrecision().update(cams, masks.float())
    with pytest.raises(ValueError, match="`ignored`: expected a bool tensor"):
        PixelAveragePrecision().update(cams, masks, masks.float())
    with pytest.raises(ValueError, match="`num_thresholds`"):
        PixelAveragePrecision(0)
