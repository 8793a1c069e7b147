"""Pictures: the maps of the same images, for each point, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from camtrain.methods import method_title
from camtrain.pictures import Panel, Tile, class_name, contact_sheet, map_tile, note_tile, write_png
from camtrain.report.points import PointRuns
from camtrain.study import Study

_LARGEST_FILE = 900_000  # bytes of one sheet on the page
_RIGHT, _WRONG = "black", "#b00020"

Gallery = dict[str, np.ndarray]
"""The arrays of a `gallery.npz`."""


@dataclass(frozen=True)
class MapSheets:
    """The sheets of maps that were written.

    Attributes:
        paths: The path of the sheet of each method; empty if no run has a gallery.
        left_out: Labels of the points whose galleries show other images.
    """

    paths: dict[str, Path]
    left_out: list[str]

    @property
    def note(self) -> str:
        """A sentence about the points that are left out; empty if there are none."""
        if not self.left_out:
            return ""
        return f"Left out of the pictures, since their images are not the first point's: {'; '.join(self.left_out)}."


def map_sheets(study: Study, points: Sequence[PointRuns], folder: Path) -> MapSheets:
    """Write one sheet for each method: a row for each image, a column for each point, all of the same seed.

    The title of a map is the predicted class. If it is wrong, the title is red and has a cross.

    Args:
        study: The study whose runs made galleries.
        points: The points to show; a point without a gallery is skipped.
        folder: Where `maps_<method>.png` is written.
    """
    seed, found = _galleries(study, points)
    if not found:
        return MapSheets({}, [])
    first = found[0][1]
    galleries = [(label, gallery) for label, gallery in found if _same_images(first, gallery)]
    left_out = [label for label, gallery in found if not _same_images(first, gallery)]
    folder.mkdir(parents=True, exist_ok=True)
    sheets = {}
    for method in _methods(galleries):
        rows = [_row(place, method, galleries) for place in range(len(first["indices"]))]
        path = folder / f"maps_{method}.png"
        write_png(contact_sheet(rows, f"{method_title(method)}, seed {seed}"), path, _LARGEST_FILE)
        sheets[method] = path
    return MapSheets(sheets, left_out)


def _galleries(study: Study, points: Sequence[PointRuns]) -> tuple[int, list[tuple[str, Gallery]]]:
    """The seed for which most points have a gallery, and the label and gallery of each of these points."""
    best: tuple[int, list[tuple[str, Gallery]]] = (0, [])
    for seed in study.plan.seeds:
        found = []
        for runs in points:
            path = study.evaluation_of(runs.trials[seed]) / "gallery.npz" if seed in runs.trials else None
            if path is not None and path.is_file():
                with np.load(path) as arrays:
                    found.append((runs.label, dict(arrays)))
        if len(found) > len(best[1]):
            best = seed, found
    return best


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
    return class_name(gallery["class_names"].tolist() if "class_names" in gallery else None, index)
