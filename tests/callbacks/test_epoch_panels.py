"""The tiles, captions and boxes of a panel, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from camtrain.batch import Batch
from camtrain.callbacks.epoch_panels import epoch_panels, strip, wandb_image
from camtrain.callbacks.explained_images import ExplainedImages
from camtrain.pictures import contact_sheet


def explained(labels=(0, 1), predictions=(0, 0), guided=True, size=(16, 16), boxes=((2.0, 3.0, 8.0, 9.0),)):
    count = len(predictions)
    ramp = torch.linspace(0, 1, size[0] * size[1]).reshape(1, *size).expand(count, -1, -1)
    return ExplainedImages(
        batch=Batch(
            torch.rand(count, 3, *size),
            None if labels is None else torch.tensor(labels),
            None if boxes is None else [torch.tensor(boxes).reshape(-1, 4)] * count,
        ),
        probabilities=torch.tensor([[0.7, 0.2, 0.1]] * count),
        predictions=torch.tensor(predictions),
        label_cams=None if labels is None else torch.zeros(count, *size),
        prediction_cams=ramp,
        input_gradients=torch.randn(count, 3, *size),
        guided_gradients=torch.randn(count, 3, *size) if guided else None,
        unguided="" if guided else "no gate",
    )


def test_tiles_titles_and_captions():
    first, second = epoch_panels(explained(), torch.rand(2, 3, 16, 16), ["cat", "dog", "cow"])
    kinds = ["image", "Grad-CAM, true class", "Grad-CAM, predicted class", "input gradient", "guided gradient"]
    assert [tile.kind for tile in first.tiles] == kinds
    assert [tile.title for tile in first.tiles] == ["cat", "cat 70% (flat map)", "cat 70%", "", ""]
    assert [tile.title for tile in second.tiles][:3] == ["dog", "dog 20% (flat map)", "cat 70%"]
    assert [tile.outline is not None for tile in first.tiles] == [True, True, True, False, False]
    assert first.tiles[2].color != second.tiles[2].color
    assert second.caption == "true: dog 20%, predicted: cat 70%"
    assert (first.label, second.label) == (0, 1)


def test_without_labels_names_boxes_or_gates():
    (panel,) = epoch_panels(explained(None, (2,), guided=False, boxes=None), torch.rand(1, 3, 16, 16), None)
    assert [tile.kind for tile in panel.tiles] == [
        "image", "Grad-CAM, predicted class", "input gradient", "guided gradient",
    ]  # fmt: skip
    assert panel.caption == "predicted: class 2 10%"
    assert "no ReLU" in panel.tiles[-1].note
    assert all(tile.outline is None for tile in panel.tiles)
    assert strip(panel)[1] == []


@pytest.mark.parametrize(("size", "shown"), [((16, 16), (128, 128)), ((40, 50), (160, 200)), ((224, 448), (128, 256))])
def test_strip_holds_the_tiles_and_where_the_boxes_are(size, shown):
    picture = torch.rand(1, 3, *size)
    (panel,) = epoch_panels(explained((0,), (0,), size=size, boxes=((0.0, 4.0, 8.0, 9.0),)), picture, None)
    pixels, boxes = strip(panel)
    height, width = shown
    assert pixels.shape == (height, 5 * width + 4 * 8, 3)
    scale = height / size[0]
    expected = [[x, 4 * scale, x + 8 * scale, 9 * scale] for x in (0, width + 8, 2 * width + 16)]
    np.testing.assert_allclose(boxes, expected, rtol=1e-6)
    if size[0] <= 128:  # a whole factor: every pixel is a square
        first = pixels[:height, :width][:: height // size[0], :: width // size[1]]
        np.testing.assert_array_equal(first, (255 * picture[0]).round().permute(1, 2, 0).numpy())


def test_contact_sheet_draws_each_tile_and_its_box():
    pictures = torch.zeros(2, 3, 16, 16)
    rows = epoch_panels(explained(), pictures, ["a$b$ long name of a class that goes on", "x", "y"])
    sheet = contact_sheet(rows, "val, epoch 0")
    # One of the headings, and a title in each row, take a second line.
    assert sheet.shape == (40 + 12 + 2 * (16 + 12 + 128 + 8), 8 + 5 * 136, 3)
    top, left, factor = 40 + 12 + 16 + 12, 8, 8
    tile = sheet[top : top + 128, left : left + 128].astype(int)
    green = (tile[..., 1] > 200) & (tile[..., 0] < 80)
    ys, xs = np.nonzero(green)
    x0, y0, x1, y1 = (factor * edge for edge in (2, 3, 8, 9))
    assert abs(xs.min() - x0) <= 2
    assert abs(xs.max() - x1) <= 2
    assert abs(ys.min() - y0) <= 2
    assert abs(ys.max() - y1) <= 2
    assert not tile[:16].any(), "the picture is black where there is no box"
    gradients = sheet[top : top + 128, left + 3 * 136 : left + 3 * 136 + 128].astype(int)
    assert (gradients.max(axis=2) == gradients.min(axis=2)).all(), "no box on the gradient"


def test_wandb_image_has_boxes_of_its_own():
    (panel,) = epoch_panels(explained((1,), (0,)), torch.rand(1, 3, 16, 16), ["cat", "dog", "cow"])
    image = wandb_image(panel, ["cat", "dog", "cow"], 3)
    (overlay,) = image._boxes.values()
    assert [box["position"]["minX"] for box in overlay._val] == [16.0, 136 + 16.0, 272 + 16.0]
    assert overlay._val[0]["position"] == {"minX": 16.0, "maxX": 64.0, "minY": 24.0, "maxY": 72.0}
    assert {(box["domain"], box["class_id"], box["box_caption"]) for box in overlay._val} == {("pixel", 1, "dog")}
    assert overlay._class_labels == {0: "cat", 1: "dog", 2: "cow", 3: "object"}
    (unlabeled,) = epoch_panels(explained(None, (0,)), torch.rand(1, 3, 16, 16), None)
    (overlay,) = wandb_image(unlabeled, None, 3)._boxes.values()
    assert {(box["class_id"], box["box_caption"]) for box in overlay._val} == {(3, "object")}
