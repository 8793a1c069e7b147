"""One image and what explains it, side by side: for a contact sheet on disk and for W&B."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from PIL import Image
from torch import Tensor

from camtrain.callbacks.explained_images import ExplainedImages

_TILE = 128  # pixels of the shorter side of a tile on the sheet
_GAP = 8
_TITLE = 16
_HEADER = 40
_DPI = 100
_LARGEST_FILE = 500_000  # bytes
_MAP_COLORS = "turbo"
_BOX_COLOR = "#00ff66"
_RIGHT, _WRONG = "#0a7d32", "#c0271d"
_PERCENTILE = 0.99

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Tile:
    """One picture of a panel.

    Attributes:
        kind: what it shows, the title of its column.
        pixels: (3, H, W) in [0, 1].
        title: what it shows of this image.
        color: of the title.
        boxed: whether the ground-truth boxes belong on it.
        note: written across it.
    """

    kind: str
    pixels: Tensor
    title: str = ""
    color: str = "black"
    boxed: bool = False
    note: str = ""


@dataclass(frozen=True)
class Panel:
    """The tiles of one image, all of its size.

    Attributes:
        tiles: from left to right.
        boxes: (M, 4) ground-truth boxes, xyxy pixels of the image.
        label: class index, or `None`.
        caption: one line that names classes and probabilities.
    """

    tiles: list[Tile]
    boxes: Tensor
    label: int | None
    caption: str


def class_name(class_names: Sequence[str] | None, index: int) -> str:
    """Name of a class, or its number where it has none.

    Example:
        >>> class_name(["cat", "dog"], 1), class_name(None, 1)
        ('dog', 'class 1')
    """
    return class_names[index] if class_names is not None and index < len(class_names) else f"class {index}"


def panels(explained: ExplainedImages, pictures: Tensor, class_names: Sequence[str] | None) -> list[Panel]:
    """A panel for each explained image.

    Maps are shown in color over the gray image; a map that is the same everywhere is shown as zeros and says so.
    Gradients are shown as SmoothGrad's authors do: absolute value, largest channel, white at the 99th percentile.

    Args:
        explained: N images.
        pictures: (N, 3, H, W) the images as RGB in [0, 1].
        class_names: of all classes, or `None` to number them.

    Source:
        Smilkov et al., SmoothGrad, 2017, arXiv 1706.03825, section 3 (how gradients are displayed).
    """
    return [_panel(explained, pictures[index].float().cpu(), class_names, index) for index in range(len(pictures))]


def _panel(explained: ExplainedImages, picture: Tensor, class_names: Sequence[str] | None, index: int) -> Panel:
    prediction = int(explained.predictions[index])
    label = None if explained.batch.labels is None else int(explained.batch.labels[index])

    def named(class_idx: int) -> str:
        return f"{class_name(class_names, class_idx)} {float(explained.probabilities[index, class_idx]):.0%}"

    tiles = [Tile("image", picture, "" if label is None else class_name(class_names, label), boxed=True)]
    if label is not None and explained.label_cams is not None:
        tiles.append(_map_tile("Grad-CAM, true class", picture, explained.label_cams[index], named(label)))
    color = "black" if label is None else _RIGHT if label == prediction else _WRONG
    prediction_cam = explained.prediction_cams[index]
    tiles.append(_map_tile("Grad-CAM, predicted class", picture, prediction_cam, named(prediction), color))
    tiles.append(Tile("input gradient", gradient_picture(explained.input_gradients[index])))
    if explained.guided_gradients is None:
        nothing = torch.full_like(picture, 0.85)
        tiles.append(Tile("guided gradient", nothing, note="none:\nno ReLU-like\nactivations found"))
    else:
        tiles.append(Tile("guided gradient", gradient_picture(explained.guided_gradients[index])))
    truth = "" if label is None else f"true: {named(label)}, "
    boxes = torch.zeros(0, 4) if explained.batch.boxes is None else explained.batch.boxes[index].float()
    return Panel(tiles, boxes, label, f"{truth}predicted: {named(prediction)}")


def _map_tile(kind: str, picture: Tensor, cam: Tensor, title: str, color: str = "black") -> Tile:
    flat = "" if bool(cam.any()) else " (flat map)"
    return Tile(kind, map_picture(picture, cam), title + flat, color, boxed=True)


def map_picture(picture: Tensor, cam: Tensor) -> Tensor:
    """A map in color over its image in gray.

    Args:
        picture: (3, H, W) RGB in [0, 1].
        cam: (H, W) in [0, 1].

    Returns:
        (3, H, W) in [0, 1].
    """
    colors = torch.from_numpy(colormaps[_MAP_COLORS](cam.numpy())[..., :3]).float().permute(2, 0, 1)
    gray = picture.mean(dim=0, keepdim=True)
    return 0.5 * colors + 0.5 * gray


def gradient_picture(gradient: Tensor) -> Tensor:
    """A gradient in gray: absolute value, largest channel, white at the 99th percentile.

    Args:
        gradient: (3, H, W).

    Returns:
        (3, H, W) in [0, 1]; black where the gradient is zero everywhere.

    Example:
        >>> gradient_picture(torch.tensor([[[0.0, -2.0]], [[1.0, 1.0]], [[0.0, 0.0]]]))[0]
        tensor([[0.5025, 1.0000]])
    """
    magnitude = gradient.float().abs().amax(dim=0)
    white = torch.quantile(magnitude, _PERCENTILE)
    # A guided gradient can be zero on more than 99 % of the pixels.
    white = white if white > 0 else magnitude.max()
    gray = (magnitude / white).clamp(max=1) if white > 0 else torch.zeros_like(magnitude)
    return gray.expand(3, -1, -1)


def strip(panel: Panel) -> tuple[Pixels, list[list[float]]]:
    """The tiles of a panel in one picture, without titles, and where its boxes are on it.

    Small images are enlarged by a whole factor, so that pixels stay pixels.

    Returns:
        (H, W, 3) pixels and one [x0, y0, x1, y1] for each box on each tile that shows boxes.
    """
    height, width = panel.tiles[0].pixels.shape[-2:]
    scale = _shown_size(height, width)[1] / width
    tiles, boxes, x = [], [], 0
    for tile in panel.tiles:
        pixels = _shown(tile.pixels)
        tiles += [pixels, np.full((pixels.shape[0], _GAP, 3), 255, dtype=np.uint8)]
        if tile.boxed:
            boxes += [
                [x + scale * x0, scale * y0, x + scale * x1, scale * y1] for x0, y0, x1, y1 in panel.boxes.tolist()
            ]
        x += pixels.shape[1] + _GAP
    return np.concatenate(tiles[:-1], axis=1), boxes


def wandb_image(panel: Panel, class_names: Sequence[str] | None, classes: int) -> Any:
    """The panel as a `wandb.Image` with W&B's own overlay of the ground-truth boxes.

    Args:
        panel: the panel.
        class_names: of all classes, or `None` to number them.
        classes: their number K.
    """
    import wandb  # takes a second: only where a run is logged to W&B

    pixels, boxes = strip(panel)
    # W&B keeps one legend for all images under a key, so each image brings the whole of it. Its last entry names
    # boxes of images without a label.
    legend = {index: class_name(class_names, index) for index in range(classes)} | {classes: "object"}
    class_id = classes if panel.label is None else panel.label
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


def contact_sheet(rows: Sequence[Panel], title: str) -> Pixels:
    """All panels of an epoch in one picture: a row for each image, a column for each kind of tile.

    Args:
        rows: at least one panel, all of one image size.
        title: of the sheet.

    Returns:
        (H, W, 3) pixels.
    """
    tile_height, tile_width = _shown_size(*rows[0].tiles[0].pixels.shape[-2:])
    width = _GAP + len(rows[0].tiles) * (tile_width + _GAP)
    height = _HEADER + len(rows) * (_TITLE + tile_height + _GAP)
    paper = np.full((height, width, 3), 255, dtype=np.uint8)
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    # One coordinate system for everything, in pixels: axes for each tile would cost more than all the maps.
    axes: Any = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()

    def write(x: float, y: float, text: str, **style: Any) -> None:
        # Class names are no mathematics, even where they hold dollar signs.
        axes.text(x, y, text, parse_math=False, va="center", **style)

    write(_GAP, 11, title, fontsize=8, fontweight="bold")
    for column, tile in enumerate(rows[0].tiles):
        write(_GAP + column * (tile_width + _GAP) + tile_width / 2, 30, tile.kind, ha="center", fontsize=6.5)
    for row, panel in enumerate(rows):
        top = _HEADER + row * (_TITLE + tile_height + _GAP) + _TITLE
        for column, tile in enumerate(panel.tiles):
            left = _GAP + column * (tile_width + _GAP)
            paper[top : top + tile_height, left : left + tile_width] = _shown(tile.pixels)
            center = left + tile_width / 2
            heading = _shortened(tile.title, tile_width)
            write(center, top - _TITLE / 2, heading, ha="center", fontsize=6.5, color=tile.color)
            write(center, top + tile_height / 2, tile.note, ha="center", fontsize=6.5)
            if tile.boxed:
                _draw_boxes(
                    axes, panel.boxes * (tile_width / tile.pixels.shape[-1]), (left, top, tile_width, tile_height)
                )
    axes.imshow(paper, extent=(0, width, height, 0), interpolation="none", aspect="auto")
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def write_png(pixels: Pixels, path: Path) -> None:
    """Write a picture, with coarser shades the larger than half a megabyte it would otherwise be.

    Gradients look like noise, which does not compress: of eight photographs at the usual size, 5 of 8 bits remain.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for bits in (8, 6, 5, 4):
        step = 2 ** (8 - bits)
        coarse = np.minimum((pixels.astype(np.int32) + step // 2) // step * step, 255).astype(np.uint8)
        Image.fromarray(coarse).save(path)
        if path.stat().st_size <= _LARGEST_FILE:
            return


def _draw_boxes(axes: Any, boxes: Tensor, tile: tuple[int, int, int, int]) -> None:
    """Frames on a tile that begins at (left, top), cut off at its edges."""
    left, top, width, height = tile
    window = Rectangle((left, top), width, height, transform=axes.transData)
    for x0, y0, x1, y1 in boxes.tolist():
        corner = (left + x0, top + y0)
        frame = Rectangle(corner, x1 - x0, y1 - y0, fill=False, edgecolor=_BOX_COLOR, linewidth=1.0)
        frame.set_path_effects([withStroke(linewidth=2.0, foreground="black")])
        axes.add_patch(frame)
        frame.set_clip_path(window)


def _shown(pixels: Tensor) -> Pixels:
    """A tile at the size at which it is shown, (H, W, 3)."""
    size = _shown_size(*pixels.shape[-2:])
    images = pixels.unsqueeze(0)
    if size[0] >= pixels.shape[-2]:
        shown = F.interpolate(images, size=size, mode="nearest")
    else:
        shown = F.interpolate(images, size=size, mode="bilinear", antialias=True)
    return (255 * shown[0].clamp(0, 1)).round().to(torch.uint8).permute(1, 2, 0).numpy()


def _shown_size(height: int, width: int) -> tuple[int, int]:
    """Height and width of a tile: a whole multiple of a small image, a large image reduced to `_TILE`."""
    shorter = min(height, width)
    if shorter <= _TILE:
        factor = -(-_TILE // shorter)
        return height * factor, width * factor
    return round(height * _TILE / shorter), round(width * _TILE / shorter)


def _shortened(text: str, pixels: int) -> str:
    """The text, cut in the middle to what fits above a tile: its end holds the probability."""
    fitting = max(8, int(pixels / 5.2))
    if len(text) <= fitting:
        return text
    tail = (fitting - 1) // 2
    return f"{text[: fitting - 1 - tail]}…{text[-tail:]}"
