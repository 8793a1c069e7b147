"""Pictures: the maps of the same images, for each point, side by side."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from camtrain.evaluation import Gallery, read_gallery
from camtrain.files import DamagedFileError, file_name, said_aside, whole_file
from camtrain.messages import CamtrainWarning, printable
from camtrain.methods import method_title
from camtrain.pictures import Panel, Tile, class_name, contact_sheet, map_tile, note_tile, write_png
from camtrain.pictures.contact_sheet import GAP, TILE, TITLE
from camtrain.report.points import PointRuns
from camtrain.study import MADE_AGAIN, Study, Trial

_LARGEST_FILE = 900_000  # bytes of one sheet on the page
_RIGHT, _WRONG = "black", "#b00020"
_MOST_IMAGES, _MOST_PIXELS = 100, 40_000_000  # of one sheet


@dataclass(frozen=True)
class MapSheets:
    """The sheets of maps that were written.

    Attributes:
        paths: The path of the sheet of each method; empty if no run has a gallery.
        left_out: Labels of the points whose galleries show other images.
        fewer: The number of images that are shown and of those in the galleries; `None` if all are shown.
    """

    paths: dict[str, Path]
    left_out: list[str]
    fewer: tuple[int, int] | None = None

    @property
    def note(self) -> str:
        """What is left out of the pictures, in sentences; empty if nothing is."""
        said = []
        if self.left_out:
            others = "; ".join(self.left_out)
            said.append(f"Left out of the pictures, since their images are not the first point's: {others}.")
        if self.fewer:
            said.append(f"The pictures show the first {self.fewer[0]} of {self.fewer[1]} images.")
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
    sheets, shown = {}, _shown_images(first, 1 + len(galleries))
    for method in _methods(galleries):
        rows = [_row(place, method, galleries) for place in range(shown)]
        # The names of methods come from files that somebody else may have made.
        path = folder / f"maps_{file_name(method)}.png"
        sheet = contact_sheet(rows, f"{printable(method_title(method))}, seed {seed}")
        with whole_file(path) as unfinished:
            write_png(sheet, unfinished, _LARGEST_FILE)
        sheets[method] = path
    count = len(first["indices"])
    return MapSheets(sheets, left_out, (shown, count) if shown < count else None)


def _shown_images(gallery: Gallery, columns: int) -> int:
    """The number of images that fit on one sheet."""
    height, width = sorted(gallery["pictures"].shape[1:3])
    of_row = columns * (TILE + TITLE + GAP) ** 2 * width / height
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
    label = int(first["labels"][place])
    tiles = [Tile("image", picture, "" if label < 0 else _named(first, label))]
    return Panel([*tiles, *(_tile(name, picture, label, method, place, gallery) for name, gallery in galleries)])


def _tile(name: str, picture: Tensor, label: int, method: str, place: int, gallery: Gallery) -> Tile:
    """The map of one point, or a note that there is none."""
    if f"cam/{method}" not in gallery:
        return note_tile(name, picture, "no map")
    small = torch.from_numpy(gallery[f"cam/{method}"][place]).float()[None, None] / 255
    cam = F.interpolate(small, size=picture.shape[-2:], mode="bilinear", align_corners=False)[0, 0]
    predicted = int(gallery["predictions"][place])
    wrong = label not in (-1, predicted)
    title = f"{'✗ ' if wrong else ''}{_named(gallery, predicted)}, {100 * float(gallery['probabilities'][place]):.0f} %"
    return map_tile(name, picture, cam, title, color=_WRONG if wrong else _RIGHT)


def _named(gallery: Gallery, index: int) -> str:
    """The name of a class, or its number if the gallery has no names."""
    return printable(class_name(gallery["class_names"].tolist() if "class_names" in gallery else None, index))
