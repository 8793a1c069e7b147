"""The panels of an epoch: a row of tiles for each explained image, as a picture and as a W&B image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from camtrain.callbacks.explained_images import ExplainedImages
from camtrain.label_scores import classes_of
from camtrain.pictures import (
    GAP,
    ObjectOutline,
    Panel,
    Pixels,
    Tile,
    class_name,
    gradient_tile,
    map_tile,
    note_tile,
    shown_pixels,
)

_RIGHT, _WRONG = "#0a7d32", "#c0271d"
_TRUE = "Grad-CAM, true class"


def epoch_panels(explained: ExplainedImages, pictures: Tensor, class_names: Sequence[str] | None) -> list[Panel]:
    """One panel for each explained image.

    Maps are drawn in color over the gray image. A map that is the same everywhere is drawn as zeros, and its title says
    that it is flat. Gradients are drawn by `camtrain.pictures.gradient_picture`.

    Args:
        explained: N explained images.
        pictures: The images as RGB in [0, 1], (N, 3, H, W).
        class_names: The names of all classes, or `None` to number them.
    """
    return [_panel(explained, pictures[index].float().cpu(), class_names, index) for index in range(len(pictures))]


def _panel(explained: ExplainedImages, picture: Tensor, class_names: Sequence[str] | None, index: int) -> Panel:
    prediction = int(explained.predictions[index])
    truth = classes_of(explained.batch.labels, index)

    def named(class_idx: int) -> str:
        return f"{class_name(class_names, class_idx)} {float(explained.probabilities[index, class_idx]):.0%}"

    boxes = None if explained.batch.boxes is None else explained.batch.boxes[index]
    outline = ObjectOutline.of(picture, boxes, None)
    title = ", ".join(class_name(class_names, label) for label in truth or ())
    tiles = [Tile("image", picture, title, outline=outline)]
    if explained.label_cams is not None and truth is not None:
        label_cam = explained.label_cams[index]
        tiles.append(map_tile(_TRUE, picture, label_cam, named(truth[0]), outline=outline))
    if explained.shown_cams is not None:
        cams = explained.shown_cams[index]
        tiles += [map_tile(_TRUE, picture, cam, named(label), outline=outline) for label, cam in cams.items()]
        # All rows of a sheet have the same tiles.
        missing = max(map(len, explained.shown_cams)) - len(cams)
        tiles += [note_tile(_TRUE, picture, "no further class")] * missing
    color = "black" if truth is None else _RIGHT if prediction in truth else _WRONG
    cam = explained.prediction_cams[index]
    tiles.append(map_tile("Grad-CAM, predicted class", picture, cam, named(prediction), color=color, outline=outline))
    tiles.append(gradient_tile("input gradient", explained.input_gradients[index]))
    if explained.guided_gradients is None:
        tiles.append(note_tile("guided gradient", picture, "none: no ReLU-like activations found"))
    else:
        tiles.append(gradient_tile("guided gradient", explained.guided_gradients[index]))
    said = f"true: {', '.join(map(named, truth))}, " if truth else ""
    # Boxes are those of an image: if it may show several classes, nobody knows of which.
    label = truth[0] if truth is not None and explained.label_cams is not None else None
    return Panel(tiles, label, f"{said}predicted: {named(prediction)}")


def strip(panel: Panel) -> tuple[Pixels, list[list[float]]]:
    """The tiles of a panel side by side in one picture without titles, and the positions of its boxes.

    Small images are enlarged by a whole factor, so that pixels stay sharp.

    Returns:
        The pixels, (H, W, 3), and one [x0, y0, x1, y1] for each box on each tile that shows boxes.
    """
    tiles, boxes, x = [], [], 0
    for tile in panel.tiles:
        pixels = shown_pixels(tile.pixels)
        tiles += [pixels, np.full((pixels.shape[0], GAP, 3), 255, dtype=np.uint8)]
        if tile.outline is not None:
            of_tile = tile.outline.boxes_at(*pixels.shape[:2]).tolist()
            boxes += [[x + x0, y0, x + x1, y1] for x0, y0, x1, y1 in of_tile]
        x += pixels.shape[1] + GAP
    return np.concatenate(tiles[:-1], axis=1), boxes


def wandb_image(panel: Panel, class_names: Sequence[str] | None, num_classes: int) -> Any:
    """The panel as a `wandb.Image` with W&B's own overlay of the ground-truth boxes.

    Args:
        panel: The panel.
        class_names: The names of all classes, or `None` to number them.
        num_classes: K, the number of classes.
    """
    import wandb  # takes a second, so only if a run is logged to W&B

    pixels, boxes = strip(panel)
    # W&B keeps one legend for all images under a key, so each image carries the whole legend. Its last entry names the
    # boxes of images without a label.
    legend = {index: class_name(class_names, index) for index in range(num_classes)} | {num_classes: "object"}
    class_id = num_classes if panel.label is None else panel.label
    box_data = [
        {
            "position": {"minX": x0, "minY": y0, "maxX": x1, "maxY": y1},
            "domain": "pixel",
            "class_id": class_id,
            "box_caption": legend[class_id],
        }
        for x0, y0, x1, y1 in boxes
    ]
    kinds = " | ".join(tile.kind for tile in panel.tiles)
    overlay = {"ground_truth": {"box_data": box_data, "class_labels": legend}} if box_data else None
    return wandb.Image(pixels, caption=f"{panel.caption} ({kinds})", boxes=overlay)
