"""A contact sheet: many panels in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from camtrain.pictures.panel import Panel
from camtrain.pictures.pixels import Pixels, figure_pixels

TILE = 128  # length in pixels of the shorter side of a tile on the sheet
GAP = 8
TITLE = 16
HEADER = 40
_DPI = 100
_BOX_COLOR = "#00ff66"


def contact_sheet(rows: Sequence[Panel], title: str, tile: int = TILE) -> Pixels:
    """Draw panels in one picture: a row for each image, a column for each kind of tile.

    Args:
        rows: The panels, at least one, all with the same number of tiles. Tiles smaller than the largest one leave
            white space below or beside them.
        title: The title of the sheet.
        tile: The length of the shorter side of a tile, in pixels.

    Returns:
        The picture, (H, W, 3).
    """
    from matplotlib.figure import Figure

    sizes = [_shown_size(each.pixels, tile) for panel in rows for each in panel.tiles]
    tile_height, tile_width = max(height for height, _ in sizes), max(width for _, width in sizes)
    width = GAP + len(rows[0].tiles) * (tile_width + GAP)
    height = HEADER + len(rows) * (TITLE + tile_height + GAP)
    paper = np.full((height, width, 3), 255, dtype=np.uint8)
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    # One pair of axes, in pixels, for the whole sheet: one for each tile would take longer than making the maps.
    axes: Any = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()

    def write(x: float, y: float, text: str, **style: Any) -> None:
        # A dollar sign in a class name does not start a formula.
        axes.text(x, y, text, parse_math=False, va="center", **style)

    write(GAP, 11, _shortened(title, width - 2 * GAP, _TITLE_LETTER), fontsize=8, fontweight="bold")
    for column, each in enumerate(rows[0].tiles):
        center = GAP + column * (tile_width + GAP) + tile_width / 2
        write(center, 30, _shortened(each.kind, tile_width), ha="center", fontsize=6.5)
    for row, panel in enumerate(rows):
        top = HEADER + row * (TITLE + tile_height + GAP) + TITLE
        for column, each in enumerate(panel.tiles):
            left = GAP + column * (tile_width + GAP)
            pixels = shown_pixels(each.pixels, tile)
            paper[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
            center = left + tile_width / 2
            heading = _shortened(each.title, tile_width)
            write(center, top - TITLE / 2, heading, ha="center", fontsize=6.5, color=each.color)
            write(center, top + tile_height / 2, each.note, ha="center", fontsize=6.5)
            if each.boxed:
                scale = pixels.shape[1] / each.pixels.shape[-1]
                _draw_boxes(axes, panel.boxes * scale, (left, top, pixels.shape[1], pixels.shape[0]))
    axes.imshow(paper, extent=(0, width, height, 0), interpolation="none", aspect="auto")
    return figure_pixels(figure)


def shown_pixels(pixels: Tensor, tile: int = TILE) -> Pixels:
    """A picture at the size it has on a tile, (H, W, 3).

    Small pictures are enlarged by a whole factor, so that every pixel becomes a square; large ones are reduced to
    `tile`.

    Args:
        pixels: The picture, (3, H, W) in [0, 1].
        tile: The length of the shorter side, in pixels.
    """
    shown = reduced(pixels, tile).unsqueeze(0)
    shown = F.interpolate(shown, size=_shown_size(shown, tile), mode="nearest")
    return (255 * shown[0].clamp(0, 1)).round().to(torch.uint8).permute(1, 2, 0).numpy()


def reduced(pixels: Tensor, tile: int = TILE) -> Tensor:
    """The picture reduced to what a tile can show, (3, h, w): its shorter side has at most `tile` pixels.

    Example:
        >>> reduced(torch.rand(3, 50, 60)).shape, reduced(torch.rand(3, 256, 512)).shape
        (torch.Size([3, 50, 60]), torch.Size([3, 128, 256]))
    """
    if min(pixels.shape[-2:]) <= tile:
        return pixels
    return F.interpolate(pixels.unsqueeze(0), size=_shown_size(pixels, tile), mode="bilinear", antialias=True)[0]


def _shown_size(pixels: Tensor, tile: int) -> tuple[int, int]:
    height, width = pixels.shape[-2:]
    shorter = min(height, width)
    if shorter <= tile:
        factor = -(-tile // shorter)
        return height * factor, width * factor
    return round(height * tile / shorter), round(width * tile / shorter)


def _draw_boxes(axes: Any, boxes: Tensor, tile: tuple[int, int, int, int]) -> None:
    """Draw boxes on a tile, given as (left, top, width, height); they are cut off at its edges."""
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    left, top, width, height = tile
    window = Rectangle((left, top), width, height, transform=axes.transData)
    for x0, y0, x1, y1 in boxes.tolist():
        corner = (left + x0, top + y0)
        frame = Rectangle(corner, x1 - x0, y1 - y0, fill=False, edgecolor=_BOX_COLOR, linewidth=1.0)
        frame.set_path_effects([withStroke(linewidth=2.0, foreground="black")])
        axes.add_patch(frame)
        frame.set_clip_path(window)


_LETTER, _TITLE_LETTER = 5.2, 6.8  # mean width of a letter in pixels, in the title of a tile and of the sheet


def _shortened(text: str, pixels: int, letter: float = _LETTER) -> str:
    """The text, shortened in the middle to fit: its end holds the probability."""
    fitting = max(8, int(pixels / letter))
    if len(text) <= fitting:
        return text
    tail = (fitting - 1) // 2
    return f"{text[: fitting - 1 - tail]}…{text[-tail:]}"
