"""Pictures: the maps of the same images, for each point, side by side."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from camtrain.evaluation import Gallery, name_in, outline_in, read_gallery
from camtrain.files import DamagedFileError, file_name, said_aside, whole_file
from camtrain.messages import CamtrainWarning, percent, printable
from camtrain.methods import method_title
from camtrain.pictures import (
    MAP_COLORS,
    OUTLINES,
    Panel,
    Tile,
    class_name,
    contact_sheet,
    map_tile,
    note_tile,
    write_png,
)
from camtrain.pictures.contact_sheet import GAP, TITLE
from camtrain.report.map_tiles import MapRow
from camtrain.report.points import PointRuns
from camtrain.study import MADE_AGAIN, Study, Trial

MOST_ON_PAGE = 12
"""The largest number of images that the page shows."""
SHEET_TILE = 192
"""Pixels of the shorter side of a tile of a sheet."""

_LARGEST_FILE = 4_000_000  # bytes of one sheet
_RIGHT, _WRONG = "black", "#b00020"
_MOST_IMAGES, _MOST_PIXELS = 100, 40_000_000  # of one sheet


@dataclass(frozen=True)
class MapSheets:
    """The sheets of maps that were written.

    Attributes:
        paths: The path of the sheet of each method; empty if no run has a gallery.
        rows: The first images of each method's sheet, for the page.
        left_out: Labels of the points whose galleries show other images.
        fewer: The number of images that are shown and of those in the galleries; `None` if all are shown.
        shown: The number of images of a sheet.
        has_outlines: Whether boxes or masks are drawn.
    """

    paths: dict[str, Path]
    left_out: list[str]
    fewer: tuple[int, int] | None = None
    rows: dict[str, list[MapRow]] = field(default_factory=dict)
    shown: int = 0
    has_outlines: bool = False

    @property
    def note(self) -> str:
        """What is left out of the pictures, in sentences; empty if nothing is."""
        said = []
        if self.left_out:
            others = "; ".join(self.left_out)
            said.append(f"Left out of the pictures, since their images are not the first point's: {others}.")
        if self.fewer:
            said.append(f"The pictures show the first {self.fewer[0]} of {self.fewer[1]} images.")
        on_page = max(map(len, self.rows.values()), default=0)
        if on_page < self.shown:
            said.append(f"The page shows the first {on_page} of {self.shown} images; figures/ has all.")
        return " ".join(said)


def map_sheets(study: Study, points: Sequence[PointRuns], folder: Path) -> MapSheets:
    """Write one sheet for each method: a row for each image, a column for each point, all of the same seed.

    The title of a map is the predicted class. If it is wrong, the title is red and has a cross.

    Args:
        study: The study whose runs made galleries.
        points: The points to show; a point without a gallery is skipped.
        folder: Where `maps_<method>.png` is written, and nothing elsewhere.

    Warns:
        CamtrainWarning: If a gallery is damaged; it is set aside.
    """
    seed, found = _galleries(study, points)
    if not found:
        return MapSheets({}, [])
    first = found[0][1]
    galleries = [(label, gallery) for label, gallery in found if _same_images(first, gallery)]
    left_out = [label for label, gallery in found if not _same_images(first, gallery)]
    sheets, on_page, shown = {}, {}, _shown_images(first, 1 + len(galleries))
    has_outlines = any(outline_in(first, place) is not None for place in range(shown))
    meaning = [MAP_COLORS, *([OUTLINES] if has_outlines else [])]
    for method in _methods(galleries):
        rows = [_row(place, method, galleries) for place in range(shown)]
        # The names of methods come from files that somebody else may have made.
        path = folder / f"maps_{file_name(method)}.png"
        title = "; ".join([f"{printable(method_title(method))}, seed {seed}", *meaning])
        sheet = contact_sheet(rows, title, SHEET_TILE)
        with whole_file(path) as unfinished:
            write_png(sheet, unfinished, _LARGEST_FILE)
        sheets[method] = path
        on_page[method] = [MapRow.of(row, _WRONG) for row in rows[:MOST_ON_PAGE]]
    count = len(first["indices"])
    return MapSheets(sheets, left_out, (shown, count) if shown < count else None, on_page, shown, has_outlines)


def _shown_images(gallery: Gallery, columns: int) -> int:
    """The number of images that fit on one sheet."""
    height, width = sorted(gallery["pictures"].shape[1:3])
    of_row = columns * (SHEET_TILE + TITLE + GAP) ** 2 * width / height
    return int(min(len(gallery["indices"]), _MOST_IMAGES, max(1, _MOST_PIXELS // of_row)))


def _galleries(study: Study, points: Sequence[PointRuns]) -> tuple[int, list[tuple[str, Gallery]]]:
    """The seed for which most points have a gallery, and the label and gallery of each of these points."""
    best: tuple[int, list[tuple[str, Gallery]]] = (0, [])
    for seed in dict.fromkeys(seed for runs in points for seed in runs.trials):
        found = []
        for runs in points:
            gallery = _gallery(study, runs.trials[seed]) if seed in runs.trials else None
            if gallery is not None:
                found.append((runs.label, gallery))
        if len(found) > len(best[1]):
            best = seed, found
    return best


def _gallery(study: Study, trial: Trial) -> Gallery | None:
    """The gallery of a trial; `None` if there is none, or it is damaged."""
    path = study.evaluation_file(trial, "gallery.npz")
    try:
        return None if path is None else read_gallery(path)
    except DamagedFileError as error:
        warnings.warn(f"{said_aside(error)}; {MADE_AGAIN}", CamtrainWarning, stacklevel=2)
        return None


def _same_images(one: Gallery, other: Gallery) -> bool:
    """Whether two galleries show the same images. Another normalization may round a pixel to the next level."""
    if any(one[key].shape != other[key].shape for key in ("indices", "pictures")):
        return False
    return np.array_equal(one["indices"], other["indices"]) and np.allclose(
        one["pictures"], other["pictures"], rtol=0, atol=1
    )


def _methods(galleries: Sequence[tuple[str, Gallery]]) -> list[str]:
    """The methods for which any of the points has maps."""
    names = dict.fromkeys(name for _, gallery in galleries for name in gallery if name.startswith("cam/"))
    return [name.removeprefix("cam/") for name in names]


def _row(place: int, method: str, galleries: Sequence[tuple[str, Gallery]]) -> Panel:
    first = galleries[0][1]
    picture = torch.from_numpy(first["pictures"][place]).permute(2, 0, 1).float() / 255
    label, outline = int(first["labels"][place]), outline_in(first, place)
    truth = "" if label < 0 else _named(first, label)
    words = [name_in(first, place), printable(str(first["label_names"][place])) if "label_names" in first else truth]
    image = Tile("image", picture, "\n".join(filter(None, words)), outline=outline)
    maps = [_tile(name, image, method, place, gallery) for name, gallery in galleries]
    return Panel([image, *maps], caption=": ".join(filter(None, words)) or f"image {int(first['indices'][place])}")


def _tile(name: str, image: Tile, method: str, place: int, gallery: Gallery) -> Tile:
    """The map of one point, or a note that there is none."""
    picture = image.pixels
    if f"cam/{method}" not in gallery:
        return note_tile(name, picture, "no map")
    small = torch.from_numpy(gallery[f"cam/{method}"][place]).float()[None, None] / 255
    cam = F.interpolate(small, size=picture.shape[-2:], mode="bilinear", align_corners=False)[0, 0]
    predicted = int(gallery["predictions"][place])
    # If images may show several classes, the label is that of the explained class, which differs between networks.
    wrong = int(gallery["labels"][place]) not in (-1, predicted)
    probability = float(gallery["probabilities"][place])
    said = "" if math.isnan(probability) else f", {percent(probability, 0)}"
    title = f"{'✗ ' if wrong else ''}{_named(gallery, predicted)}{said}"
    return map_tile(name, picture, cam, title, color=_WRONG if wrong else _RIGHT, outline=image.outline)


def _named(gallery: Gallery, index: int) -> str:
    """The name of a class, or its number if the gallery has no names."""
    return printable(class_name(gallery["class_names"].tolist() if "class_names" in gallery else None, index))
