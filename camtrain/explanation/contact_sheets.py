"""Contact sheets that fill up image by image and are written page by page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from camtrain.explanation.explanation import COLUMNS
from camtrain.explanation.photo_view import PhotoView
from camtrain.files import whole_file
from camtrain.pictures import Panel, Tile, contact_sheet, reduced, write_png

ROWS = 12  # on a page, of tiles
SHEET_TILE = 192  # pixels of the shorter side of a tile


class ContactSheets:
    """Contact sheets of a folder, each with a row for each image, or several if there are many tiles.

    A page is written as soon as it is full, so that the memory does not grow with the number of images.

    Args:
        folder: Where they are written: `<name>.png`, `<name>_page_2.png`, and so on.
        title: The title of every sheet.

    Attributes:
        paths: The files that were written.
    """

    def __init__(self, folder: Path, title: str) -> None:
        self.folder = folder
        self.title = title
        self.paths: list[Path] = []
        self._panels: dict[str, list[Panel]] = {}
        self._meaning: dict[str, dict[str, None]] = {}
        self._pages: dict[str, int] = {}

    def add(self, name: str, tiles: Sequence[Tile], view: PhotoView, subtitle: str = "") -> None:
        """Add an image to the sheet of that name.

        Args:
            name: The name of the sheet.
            tiles: The tiles of the image.
            view: The picture below its maps.
            subtitle: Follows the title of the sheet.
        """
        # Only the pixels that the sheet will show are kept.
        panels = self._panels.setdefault(name, [])
        kept = [replace(tile, pixels=reduced(tile.pixels, SHEET_TILE)) for tile in tiles]
        panels.append(Panel(kept, caption=subtitle))
        self._meaning.setdefault(name, {}).update(dict.fromkeys(view.meaning))
        rows_of_panel = -(-len(tiles) // COLUMNS)
        if (len(panels) + 1) * rows_of_panel > ROWS:
            self._write(name)

    def finish(self) -> None:
        """Write the pages that are not full."""
        for name in list(self._panels):
            self._write(name)

    def _write(self, name: str) -> None:
        panels = self._panels.pop(name)
        page = self._pages[name] = self._pages.get(name, 0) + 1
        path = self.folder / (f"{name}.png" if page == 1 else f"{name}_page_{page}.png")
        title = "; ".join([": ".join(filter(None, [self.title, panels[0].caption])), *self._meaning.pop(name)])
        with whole_file(path) as unfinished:
            write_png(contact_sheet(panels, title, SHEET_TILE, COLUMNS), unfinished)
        self.paths.append(path)
