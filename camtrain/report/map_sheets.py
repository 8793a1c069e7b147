"""Pictures: the same images' maps of each point, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from camtrain.methods import TITLES
from camtrain.pictures import Panel, Tile, contact_sheet, map_tile, write_png
from camtrain.report.points import PointRuns
from camtrain.study import Study

_LARGEST_FILE = 900_000  # bytes of one sheet on the page
_RIGHT, _WRONG = "black", "#b00020"


def map_sheets(study: Study, points: Sequence[PointRuns], folder: Path) -> dict[str, Path]:
    """A sheet for each method: a row for each image, a column for each point, all of the same seed.

    The title of a map is the class that the network says; where that is wrong, it is red and has a cross.

    Args:
        study: whose runs made galleries.
        points: of which those with a gallery are shown.
        folder: of the pictures, `maps_<method>.png`.

    Returns:
        Their paths by method; none where no gallery was made.
    """
    seed, galleries = _galleries(study, points)
    if not galleries:
        return {}
    first = next(iter(galleries.values()))
    methods = [name.removeprefix("cam/") for name in first if name.startswith("cam/")]
    folder.mkdir(parents=True, exist_ok=True)
    sheets = {}
    for method in methods:
        rows = [_row(place, method, galleries) for place in range(len(first["indices"]))]
        path = folder / f"maps_{method}.png"
        write_png(contact_sheet(rows, f"{TITLES.get(method, method)}, seed {seed}"), path, _LARGEST_FILE)
        sheets[method] = path
    return sheets


def _galleries(study: Study, points: Sequence[PointRuns]) -> tuple[int, dict[str, dict[str, np.ndarray]]]:
    """The galleries of all points of the seed that most of them have, and that seed."""
    best: tuple[int, dict[str, dict[str, np.ndarray]]] = (0, {})
    for seed in study.asked.seeds:
        found = {}
        for runs in points:
            path = study.evaluation_of(runs.trials[seed]) / "gallery.npz" if seed in runs.trials else None
            if path is not None and path.is_file():
                with np.load(path) as arrays:
                    found[runs.label] = dict(arrays)
        if len(found) > len(best[1]):
            best = seed, found
    return best


def _row(place: int, method: str, galleries: dict[str, dict[str, np.ndarray]]) -> Panel:
    first = next(iter(galleries.values()))
    picture = torch.from_numpy(first["pictures"][place]).permute(2, 0, 1).float() / 255
    label = int(first["labels"][place])
    tiles = [Tile("image", picture, "" if label < 0 else f"class {label}")]
    for name, gallery in galleries.items():
        small = torch.from_numpy(gallery[f"cam/{method}"][place]).float()[None, None] / 255
        cam = F.interpolate(small, size=picture.shape[-2:], mode="bilinear", align_corners=False)[0, 0]
        said = int(gallery["predictions"][place])
        wrong = label not in (-1, said)
        title = f"{'✗ ' if wrong else ''}class {said}, {100 * float(gallery['probabilities'][place]):.0f} %"
        tiles.append(map_tile(name, picture, cam, title, color=_WRONG if wrong else _RIGHT))
    return Panel(tiles)
