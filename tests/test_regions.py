"""Boxes and masks as pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision import tv_tensors

from camtrain.metrics import box_regions, regions


def pixels(*rows):
    return torch.tensor([[character == "#" for character in row] for row in rows])


def test_several_boxes_count_as_their_union():
    boxes = [torch.tensor([[0, 0, 2, 2], [1, 1, 4, 3], [1, 1, 2, 2]]), torch.zeros(0, 4), torch.tensor([[3, 3, 4, 4]])]
    first = pixels("##..", "####", ".###", "....")
    last = pixels("....", "....", "....", "...#")
    expected = torch.stack([first, torch.zeros(4, 4, dtype=torch.bool), last])
    assert torch.equal(box_regions([each.float() for each in boxes], (4, 4)), expected)


def test_a_fractional_box_holds_the_pixels_whose_centers_it_holds():
    boxes = [torch.tensor([[0.5, 0.51, 2.5, 3.2]])]
    assert torch.equal(box_regions(boxes, (4, 4))[0], pixels("....", "##..", "##..", "...."))


def test_a_box_holds_the_same_pixels_in_half_precision():
    """Lightning's `bf16-true` makes bfloat16 the default type of a step, which has no number between 256 and 258."""
    boxes = [torch.tensor([[255.0, 0.0, 257.0, 2.0]])]
    torch.set_default_dtype(torch.bfloat16)
    try:
        found = box_regions(boxes, (4, 300))
    finally:
        torch.set_default_dtype(torch.float32)
    assert found.nonzero().tolist() == [[0, y, x] for y in (0, 1) for x in (255, 256)]


def test_a_box_may_leave_the_image_by_one_pixel():
    boxes = [
        torch.tensor([[-1.0, -1.0, 1.0, 2.0]]),
        torch.tensor([[3.0, 2.0, 5.0, 4.0]]),
        torch.tensor([[4.2, 0.0, 5.0, 3.0]]),
    ]
    counts = box_regions(boxes, (3, 4)).flatten(1).sum(dim=1)
    assert counts.tolist() == [2, 1, 0]


@pytest.mark.parametrize("corner", range(4))
def test_a_box_that_leaves_the_image_further_is_an_error(corner):
    box = [0.0, 0.0, 4.0, 3.0]
    box[corner] += -1.01 if corner < 2 else 1.01
    boxes = [torch.zeros(0, 4), torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([[0.0, 0.0, 1.0, 1.0], box])]
    with pytest.raises(
        ValueError, match=r"`boxes`: expected boxes on images of width 4 and height 3, got \[.*\] for image 2.* resize"
    ):
        box_regions(boxes, (3, 4))


def test_boxes_in_the_pixels_of_the_image_on_a_small_map_are_an_error():
    with pytest.raises(
        ValueError, match=r"`annotation`: expected boxes .* width 7 and height 7, .*camtrain.cams.resize"
    ):
        regions([torch.tensor([[20.0, 30.0, 120.0, 180.0]])], (7, 7))


def test_boxes_in_fractions_of_the_image_are_an_error():
    boxes = [torch.zeros(0, 4), torch.tensor([[0.2, 0.3, 0.7, 1.0]])]
    with pytest.raises(ValueError, match=r"`boxes`: expected boxes in pixels \(xyxy\), got \[0\.2.* multiply them by"):
        box_regions(boxes, (16, 16))
    # The first pixel of an image, and a box that was scaled to a small map.
    assert int(box_regions([torch.tensor([[0.0, 0.0, 1.0, 1.0]])], (16, 16)).sum()) == 1
    assert int(box_regions([torch.tensor([[0.16, 0.16, 0.94, 0.94]])], (7, 7)).sum()) == 1


def test_boxes_thinner_than_a_pixel_hold_no_center():
    assert not box_regions([torch.tensor([[1.6, 0.0, 2.4, 4.0], [1.0, 1.0, 1.0, 3.0]])], (4, 4)).any()


def test_matches_a_loop_over_pixels():
    generator = torch.Generator().manual_seed(0)
    boxes = []
    for count in (0, 1, 3, 2, 0, 5):
        corners = torch.rand(count, 2, 2, generator=generator) * torch.tensor([9.0, 7.0])
        low, high = corners.amin(dim=1), corners.amax(dim=1)
        boxes.append(tv_tensors.BoundingBoxes(torch.cat([low, high], dim=1), format="XYXY", canvas_size=(7, 9)))
    result = regions(boxes, (7, 9))
    assert type(result) is torch.Tensor
    for index, of_image in enumerate(boxes):
        for row in range(7):
            for column in range(9):
                x, y = column + 0.5, row + 0.5
                inside = any(x0 <= x < x1 and y0 <= y < y1 for x0, y0, x1, y1 in of_image.tolist())
                assert bool(result[index, row, column]) == inside


def test_masks_are_taken_as_they_are():
    masks = tv_tensors.Mask(torch.rand(3, 4, 5) > 0.5)
    result = regions(masks, (4, 5))
    assert type(result) is torch.Tensor
    assert torch.equal(result, masks.as_subclass(torch.Tensor))


def test_no_images():
    assert regions([], (4, 5)).shape == (0, 4, 5)
    assert regions(torch.zeros(0, 4, 5, dtype=torch.bool), (4, 5)).shape == (0, 4, 5)


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (torch.zeros(2, 4, 4), "bool masks .*, got torch.float32"),
        (torch.zeros(2, 4), r"list with one \(M, 4\) tensor of boxes per image, got torch.float32 of shape \(2, 4\)"),
        (torch.zeros(2, 4, 4, dtype=torch.uint8), "bool masks .*, got torch.uint8"),
        (torch.zeros(2, 4, 3, dtype=torch.bool), r"\(N, 4, 4\), .*got torch.bool of shape \(2, 4, 3\)"),
        ([torch.zeros(2, 4), torch.zeros(4)], r"got \(4,\) for image 1"),
        ([torch.tensor([[2.0, 0.0, 1.0, 1.0]])], r"got \[2.0, 0.0, 1.0, 1.0\]"),
        ([torch.tensor([[0.0, 0.0, float("nan"), 1.0]])], "expected finite"),
        ([torch.tensor([[0.0, 0.0, float("inf"), 1.0]])], "expected finite"),
    ],
)
def test_bad_annotations(annotation, message):
    with pytest.raises(ValueError, match=f"`annotation`: .*{message}"):
        regions(annotation, (4, 4))


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        (torch.zeros(2, 4), r"got Tensor of shape \(2, 4\)"),
        (np.zeros((2, 1, 4)), "got ndarray"),
        ("boxes", "got str"),
        ([torch.zeros(1, 4), [[0, 0, 1, 1]]], "got list for image 1"),
        ([np.zeros((1, 4))], "got ndarray for image 0"),
    ],
)
def test_boxes_are_a_list_of_tensors(boxes, message):
    with pytest.raises(
        TypeError, match=rf"`boxes`: expected a list with one \(M, 4\) tensor of boxes per image, {message}"
    ):
        box_regions(boxes, (4, 4))
    if not isinstance(boxes, torch.Tensor):
        with pytest.raises(TypeError, match=f"`annotation`: .* {message}"):
            regions(boxes, (4, 4))
