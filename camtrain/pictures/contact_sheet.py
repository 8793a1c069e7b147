"""A contact sheet: many panels in one picture."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from camtrain.pictures.object_outline import outlined
from camtrain.pictures.panel import Panel, Tile
from camtrain.pictures.pixels import Pixels, figure_pixels

TILE = 128  # length in pixels of the shorter side of a tile on the sheet
GAP = 8
TITLE = 16  # pixels of a title of one line
HEADER = 40
_DPI = 100
_TITLE_LINES = 3
_LARGE = 192  # tiles of at least this size have larger titles


@dataclass(frozen=True)
class _Font:
    """The size of letters.

    Attributes:
        points: As matplotlib takes it.
        letter: The mean width of a letter in pixels.
        line: The height of a further line in pixels.
    """

    points: float
    letter: float
    line: int


_SMALL_FONT, _LARGE_FONT, _BOLD_FONT = _Font(6.5, 5.2, 12), _Font(8, 6.4, 14), _Font(8, 6.8, 14)


def contact_sheet(rows: Sequence[Panel], title: str, tile: int = TILE, most_columns: int | None = None) -> Pixels:
    """Draw panels in one picture: a row for each image, a column for each kind of tile.

    Boxes and masks are drawn on the tiles that have an outline. A title that does not fit goes on in a second line.

    Args:
        rows: The panels, at least one, all with the same number of tiles. Tiles smaller than the largest one leave
            white space below or beside them.
        title: The title of the sheet.
        tile: The length of the shorter side of a tile, in pixels.
        most_columns: The largest number of tiles side by side. Panels with more tiles go on in further rows, where each
            tile is titled with its kind. `None` has no limit.

    Returns:
        The picture, (H, W, 3).
    """
    from matplotlib.figure import Figure

    is_folded = most_columns is not None and len(rows[0].tiles) > most_columns
    columns = most_columns if is_folded and most_columns is not None else len(rows[0].tiles)
    sizes = [_shown_size(each.pixels, tile) for panel in rows for each in panel.tiles]
    tile_height, tile_width = max(height for height, _ in sizes), max(width for _, width in sizes)
    font = _LARGE_FONT if tile >= _LARGE else _SMALL_FONT
    lines = [_row(part, tile_width, font, is_folded) for panel in rows for part in _parts(panel, columns)]
    width = GAP + columns * (tile_width + GAP)
    title_lines = _wrapped(title, width - 2 * GAP, _BOLD_FONT, _TITLE_LINES)
    kinds = [] if is_folded else [_wrapped(each.kind, tile_width, font) for each in rows[0].tiles]
    kind_lines = max(map(len, kinds), default=1)
    header = HEADER + (len(title_lines) - 1) * _BOLD_FONT.line + (kind_lines - 1) * font.line - (24 if is_folded else 0)
    tops = np.cumsum([header, *(row.height(font) + tile_height + GAP for row in lines)]).tolist()
    paper = np.full((tops[-1], width, 3), 255, dtype=np.uint8)
    figure = Figure(figsize=(width / _DPI, tops[-1] / _DPI), dpi=_DPI)
    # One pair of axes, in pixels, for the whole sheet: one for each tile would take longer than making the maps.
    axes: Any = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(tops[-1], 0))
    axes.set_axis_off()

    def write(x: float, y: float, words: Sequence[str], style: _Font, **more: Any) -> None:
        # A dollar sign in a class name does not start a formula.
        for number, line in enumerate(words):
            below = (number - (len(words) - 1) / 2) * style.line
            axes.text(x, y + below, line, parse_math=False, va="center", fontsize=style.points, **more)

    write(GAP, 11 + (len(title_lines) - 1) * _BOLD_FONT.line / 2, title_lines, _BOLD_FONT, fontweight="bold")
    for column, words in enumerate(kinds):
        center = GAP + column * (tile_width + GAP) + tile_width / 2
        write(center, header - 10 - (kind_lines - 1) * font.line / 2, words, font, ha="center")
    for row, above in zip(lines, tops, strict=False):
        top = above + row.height(font)
        for column, (each, words) in enumerate(zip(row.tiles, row.titles, strict=True)):
            left = GAP + column * (tile_width + GAP)
            pixels = outlined(shown_pixels(each.pixels, tile), each.outline)
            paper[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
            center = left + tile_width / 2
            write(center, top - row.height(font) / 2, words, font, ha="center", color=each.color)
            axes.text(center, top + tile_height / 2, each.note, ha="center", va="center", fontsize=6.5)
    axes.imshow(paper, extent=(0, width, tops[-1], 0), interpolation="none", aspect="auto")
    return figure_pixels(figure)


@dataclass(frozen=True)
class _Row:
    """Tiles side by side, with the lines of their titles."""

    tiles: Sequence[Tile]
    titles: Sequence[list[str]]

    def height(self, font: _Font) -> int:
        """Of the titles, in pixels."""
        return TITLE + (max(1, *map(len, self.titles)) - 1) * font.line


def _parts(panel: Panel, columns: int) -> list[Sequence[Tile]]:
    return [panel.tiles[start : start + columns] for start in range(0, len(panel.tiles), columns)]


def _row(tiles: Sequence[Tile], width: int, font: _Font, is_folded: bool) -> _Row:
    titles = [f"{each.kind}\n{each.title}" if is_folded else each.title for each in tiles]
    return _Row(tiles, [_wrapped(title, width, font) for title in titles])


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


def _wrapped(text: str, pixels: int, font: _Font, most: int = 2) -> list[str]:
    """The lines of a text; a paragraph that takes more than `most` is shortened to one line."""
    fitting = max(8, int(pixels / font.letter))
    found = []
    for paragraph in text.replace(" %", "\N{NO-BREAK SPACE}%").split("\n"):
        lines = textwrap.wrap(paragraph, fitting, break_long_words=False, break_on_hyphens=False)
        fits = len(lines) <= most and all(len(line) <= fitting for line in lines)
        found += lines if fits else [_shortened(paragraph, fitting)]
    return found or [""]


def _shortened(text: str, fitting: int) -> str:
    """The text, shortened in the middle to fit: its end holds the probability."""
    if len(text) <= fitting:
        return text
    tail = (fitting - 1) // 2
    return f"{text[: fitting - 1 - tail]}…{text[-tail:]}"
