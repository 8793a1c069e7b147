"""The maps of a sheet as pictures of a page, each with a caption that is text."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

from PIL import Image

from camtrain.pictures import Panel, Tile, outlined, shown_pixels

_TILE = 224  # pixels of the shorter side
_PIXELATED = 64  # a picture of fewer pixels is shown as squares, which JPEG would blur
_QUALITY = 88


@dataclass(frozen=True)
class MapTile:
    """A picture of the page with its caption.

    Attributes:
        heading: What it shows: a point, or the photograph itself.
        caption: The predicted class and its probability.
        is_wrong: Whether the predicted class is not that of the image.
        address: The picture as the address of an `img` element.
        note: What is said in its place; empty where there is a picture.
    """

    heading: str
    caption: str
    is_wrong: bool
    address: str
    note: str = ""

    @classmethod
    def of(cls, tile: Tile, *, is_wrong: bool) -> MapTile:
        """A tile of a sheet."""
        caption = tile.title.replace(" %", "\N{NO-BREAK SPACE}%")
        return cls(tile.kind, caption, is_wrong, "" if tile.note else _address(tile), tile.note)


@dataclass(frozen=True)
class MapRow:
    """One image with its maps.

    Attributes:
        title: The file and the label of the image.
        tiles: The image itself, and its map of each point.
    """

    title: str
    tiles: list[MapTile]

    @classmethod
    def of(cls, panel: Panel, wrong: str) -> MapRow:
        """A row of a sheet, whose titles have the color `wrong` where the prediction is wrong."""
        photograph, *maps = panel.tiles
        tiles = [MapTile.of(each, is_wrong=each.color == wrong) for each in maps]
        return cls(panel.caption, [MapTile("photograph", "", False, _address(photograph)), *tiles])


def _address(tile: Tile) -> str:
    """The pixels with the boxes and the mask of the objects, in the address itself."""
    picture = Image.fromarray(outlined(shown_pixels(tile.pixels, _TILE), tile.outline))
    is_small = min(tile.pixels.shape[-2:]) <= _PIXELATED
    file = io.BytesIO()
    picture.save(file, **({"format": "png"} if is_small else {"format": "jpeg", "quality": _QUALITY}))
    kind = "png" if is_small else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
