"""The squash of images, boxes and masks, by hand."""

from __future__ import annotations

import pytest
import torch
from torchvision import tv_tensors

from camtrain.data.squash import Squash, squashed_boxes


def boxes(*rows, size):
    return tv_tensors.BoundingBoxes(torch.tensor(rows), format="XYXY", canvas_size=size)


def test_by_hand():
    """An image of 4 × 8 pixels becomes 8 × 8: rows are doubled, columns stay."""
    image = torch.zeros(3, 4, 8, dtype=torch.uint8)
    image[:, 1, 2:5] = 200
    mask = image[0] > 0
    sample = {
        "image": tv_tensors.Image(image),
        "label": 3,
        "boxes": boxes([2.0, 1.0, 5.0, 2.0], size=(4, 8)),
        "mask": tv_tensors.Mask(mask),
        "ignored": tv_tensors.Mask(torch.ones(2, 4, dtype=torch.bool)),  # of a size of its own
    }
    squashed = Squash(8)(sample)
    assert squashed["image"].shape == (3, 8, 8)
    # The last row of the box is row 1, which is scaled to row 2: the box ends after that, not after row 3.
    assert squashed["boxes"].tolist() == [[2.0, 2.0, 5.0, 3.0]]
    assert squashed["boxes"].canvas_size == (8, 8)
    assert squashed["mask"].dtype == torch.bool
    assert torch.equal(squashed["mask"].as_subclass(torch.Tensor), mask.repeat_interleave(2, dim=0))
    assert squashed["ignored"].shape == (8, 8)
    assert squashed["ignored"].all()
    assert squashed["label"] == 3


def test_nothing_is_cropped():
    image = torch.zeros(3, 30, 90, dtype=torch.uint8)
    image[:, :, :3], image[:, :, -3:] = 255, 255
    squashed = Squash(30)({"image": tv_tensors.Image(image), "label": 0})["image"]
    assert squashed[:, :, 0].min() > 200
    assert squashed[:, :, -1].min() > 200


def test_rounding_of_the_authors():
    """Cases of their own tests: with last pixels, (1, 2, 4, 3) of 10 × 20 becomes (3, 1, 14, 1) of 35 × 10."""
    box = torch.tensor([[1.0, 2.0, 5.0, 4.0]])
    assert squashed_boxes(box, (20, 10), 35)[0, [0, 2]].tolist() == [3, 15]
    assert squashed_boxes(box, (20, 10), 10)[0, [1, 3]].tolist() == [1, 2]
    assert squashed_boxes(torch.tensor([[1.0, 2.0, 2.0, 3.0]]), (3, 3), 3).tolist() == [[1, 2, 2, 3]]


def test_boxes_of_another_format():
    wrong = tv_tensors.BoundingBoxes([[0.0, 0.0, 2.0, 2.0]], format="XYWH", canvas_size=(4, 4))
    with pytest.raises(ValueError, match="`boxes`: expected the format XYXY, got XYWH"):
        Squash(8)({"image": tv_tensors.Image(torch.zeros(3, 4, 4)), "label": 0, "boxes": wrong})
    with pytest.raises(ValueError, match="`size`: expected a positive integer, got 0"):
        Squash(0)
