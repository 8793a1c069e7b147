"""Contours, boxes and masks on overlays; PIL images and figures of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from camtrain.pictures import overlay, overlay_figure, pil_image
from camtrain.pictures.object_outline import OUTLINE_COLOR

GREEN = torch.tensor(OUTLINE_COLOR) / 255
IMAGE = torch.full((3, 20, 30), 0.5)
CAM = torch.zeros(20, 30)
CAM[5:15, 10:20] = 0.6
CAM[8:12, 13:17] = 0.9


def is_color(picture, color):
    return (picture == torch.as_tensor(color, dtype=torch.float32).view(3, 1, 1)).all(dim=0)


def frame(y0, y1, x0, x1):
    found = torch.zeros(20, 30, dtype=torch.bool)
    found[y0:y1, x0:x1] = True
    found[y0 + 1 : y1 - 1, x0 + 1 : x1 - 1] = False
    return found


def test_contours_are_white_lines_between_black_ones():
    picture = overlay(IMAGE, CAM, opacity=0, contour=0.5)
    assert torch.equal(is_color(picture, [1, 1, 1]), frame(5, 15, 10, 20))
    assert torch.equal(is_color(picture, [0, 0, 0]), frame(4, 16, 9, 21) | frame(6, 14, 11, 19))
    assert (picture[:, 0, 0] == 0.5).all()
    both = overlay(IMAGE, CAM, opacity=0, contour=[0.5, 0.7])
    assert torch.equal(is_color(both, [1, 1, 1]), frame(5, 15, 10, 20) | frame(8, 12, 13, 17))
    # Where the map is exactly as high as the value, it is inside.
    assert torch.equal(overlay(IMAGE, CAM, contour=0.6), overlay(IMAGE, CAM, contour=0.3))


def test_boxes_and_masks_are_green_lines():
    picture = overlay(IMAGE, CAM, opacity=0, boxes=torch.tensor([[3.0, 2.0, 9.0, 12.0]]))
    assert torch.equal(is_color(picture, GREEN), frame(2, 12, 3, 9))
    picture = overlay(IMAGE, CAM, opacity=0, masks=CAM > 0.8)
    assert torch.equal(is_color(picture, GREEN), frame(8, 12, 13, 17))
    # Over a contour, the line of the object stays whole.
    picture = overlay(IMAGE, CAM, contour=0.5, boxes=torch.tensor([[15.0, 1.0, 25.0, 18.0]]))
    assert torch.equal(is_color(picture, GREEN), frame(1, 18, 15, 25))
    assert torch.equal(overlay(IMAGE, CAM, boxes=torch.zeros(0, 4)), overlay(IMAGE, CAM))


def test_a_batch_is_its_images_one_by_one():
    images, cams = torch.rand(2, 3, 20, 30), torch.rand(2, 20, 30)
    boxes, masks = [torch.tensor([[3.0, 2.0, 9.0, 12.0]]), torch.zeros(0, 4)], cams > 0.5
    found = overlay(images, cams, contour=0.25, boxes=boxes, masks=masks)
    for number in range(2):
        one = overlay(images[number], cams[number], contour=0.25, boxes=boxes[number], masks=masks[number])
        assert torch.equal(found[number], one)
    assert overlay(images[:0], cams[:0], contour=0.5).shape == (0, 3, 20, 30)


def test_pixels_and_figures():
    picture = overlay(IMAGE, CAM, contour=0.5)
    image = pil_image(picture)
    assert image.size == (30, 20)
    np.testing.assert_array_equal(np.asarray(image), (255 * picture).round().byte().permute(1, 2, 0).numpy())
    figure = overlay_figure(IMAGE, CAM, "viridis", title="Grad-CAM", contour=0.5, opacity=0.3)
    axes, bar = figure.axes
    assert axes.get_title() == "Grad-CAM"
    shown = np.asarray(pil_image(overlay(IMAGE, CAM, "viridis", 0.3, contour=0.5)))
    np.testing.assert_array_equal(axes.images[0].get_array(), shown)
    assert bar.get_ylim() == (0.0, 1.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"contour": 1.5}, "`contour`: expected values from 0 to 1, got 1.5"),
        ({"contour": [0.5, -1]}, "`contour`: expected values from 0 to 1, got -1"),
        ({"boxes": torch.zeros(4)}, r"`boxes`: expected \(M, 4\), for one image, got \(4,\)"),
        ({"masks": torch.zeros(10, 30, dtype=torch.bool)}, r"`masks`: .*size of the image, \(20, 30\), got \(10, 30\)"),
        ({"image": IMAGE[None], "cam": CAM[None], "boxes": []}, r"`boxes`: expected .*got 0"),
    ],
)
def test_wrong_values(arguments, message):
    with pytest.raises(ValueError, match=message):
        overlay(**({"image": IMAGE, "cam": CAM} | arguments))


def test_what_is_no_picture():
    with pytest.raises(ValueError, match=r"`picture`: expected one picture, \(3, H, W\), got \(1, 3, 20, 30\)"):
        pil_image(IMAGE[None])
    with pytest.raises(ValueError, match="`picture`: expected values from 0 to 1, got 2 to 2"):
        pil_image(IMAGE + 1.5)
