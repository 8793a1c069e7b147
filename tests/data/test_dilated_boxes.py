from __future__ import annotations

import pytest
import torch
from torchvision import tv_tensors

from camtrain.data.dilated_boxes import DilatedBoxes, dilated_boxes

BOXES = torch.tensor([[40.0, 50.0, 60.0, 90.0], [0.0, 2.0, 10.0, 98.0]])


@pytest.mark.parametrize(
    ("dilation", "by_hand"),
    [
        (0.0, [[40, 50, 60, 90], [0, 2, 10, 98]]),
        (0.1, [[38, 46, 62, 94], [0, 0, 11, 100]]),
        (0.25, [[35, 40, 65, 100], [0, 0, 12.5, 100]]),
        (0.5, [[30, 30, 70, 100], [0, 0, 15, 100]]),
        (9.0, [[0, 0, 200, 100], [0, 0, 100, 100]]),
    ],
)
def test_by_hand(dilation, by_hand):
    torch.testing.assert_close(dilated_boxes(BOXES, dilation, size=(100, 200)), torch.tensor(by_hand).float())


@pytest.mark.parametrize("dilation", [0.1, 0.25, 0.5])
def test_agrees_with_the_rule_of_the_authors_in_whole_pixels(dilation):
    random = torch.Generator().manual_seed(0)
    corners = torch.randint(0, 200, (50, 2), generator=random)
    boxes = torch.cat([corners, corners + torch.randint(1, 24, (50, 2), generator=random)], 1).tolist()
    # Margins in whole pixels on each side, and a last pixel, 223, where ours end after it.
    expected = []
    for x0, y0, x1, y1 in boxes:
        across, down = int(dilation * (x1 - x0)), int(dilation * (y1 - y0))
        expected.append([max(0, x0 - across), max(0, y0 - down), min(224, x1 + across), min(224, y1 + down)])
    difference = dilated_boxes(torch.tensor(boxes).float(), dilation, size=(224, 224)) - torch.tensor(expected)
    assert (difference[:, :2] <= 1e-5).all()
    assert (difference[:, :2] > -1).all()
    assert (difference[:, 2:] >= -1e-5).all()
    assert (difference[:, 2:] < 1).all()


def test_samples_keep_all_else():
    image, mask = torch.zeros(3, 100, 200), tv_tensors.Mask(torch.ones(100, 200, dtype=torch.bool))
    boxes = tv_tensors.BoundingBoxes(BOXES, format="XYXY", canvas_size=(100, 200))
    source = [
        {"image": image, "label": 2, "boxes": boxes, "mask": mask},
        {"image": image, "label": 1, "boxes": tv_tensors.wrap(boxes[:0], like=boxes)},
        {"image": image, "label": 0},
    ]
    samples = DilatedBoxes(source, 0.25)
    assert len(samples) == 3
    dilated = samples[0]
    assert dilated["boxes"].tolist() == [[35, 40, 65, 100], [0, 0, 12.5, 100]]
    assert dilated["boxes"].canvas_size == (100, 200)
    assert (dilated["image"], dilated["mask"], dilated["label"]) == (image, mask, 2)
    assert source[0]["boxes"].tolist() == BOXES.tolist()
    assert samples[1]["boxes"].shape == (0, 4)
    assert samples[2] == source[2]
