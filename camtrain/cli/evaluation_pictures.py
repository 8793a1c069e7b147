"""The pictures of an evaluation: curves, and the best and the worst maps of each score."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from camtrain.cli.evaluation_data import EvaluationImages
from camtrain.cli.evaluation_run import EvaluatedImages
from camtrain.evaluation import METRICS, EvaluationSettings, Evaluator
from camtrain.methods import TITLES
from camtrain.metrics import ROAD, DeletionAUC, InsertionAUC
from camtrain.pictures import Panel, Tile, contact_sheet, map_tile, note_tile, reduced, write_png

Curves = dict[tuple[str, str], Tensor]
"""(T + 1,) mean curves by method and by what is done on the way."""


def mean_curves(evaluator: Evaluator, found: EvaluatedImages) -> Curves:
    """The mean probability along the ways of insertion, deletion and ROAD, of each method that was counted."""
    curves: Curves = {}
    for method, name in evaluator.pairs:
        metric, total = evaluator.metric(name), found.rows[method, name].sum(dim=0)
        if not bool(total.any()):
            continue
        if isinstance(metric, InsertionAUC | DeletionAUC):
            curves[method, name.removesuffix("_auc")] = metric.mean_curve(total)
        elif isinstance(metric, ROAD):
            most, least = metric.mean_curves(total)
            curves |= {(method, "road_most_relevant_first"): most, (method, "road_least_relevant_first"): least}
    return curves


def write_curves(curves: Curves, settings: EvaluationSettings, folder: Path) -> list[Path]:
    """`curves.csv` and `curves.png`.

    Args:
        curves: by method and way.
        settings: that say at which shares of the pixels they were taken.
        folder: where they are written.

    Returns:
        Their paths; none where there is no curve.
    """
    if not curves:
        return []
    ways = list(dict.fromkeys(way for _, way in curves))
    steps = [step / settings.num_steps for step in range(settings.num_steps + 1)]
    shares = {way: settings.removed_shares if way.startswith("road") else steps for way in ways}
    table, picture = folder / "curves.csv", folder / "curves.png"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["method", "way", "share_of_pixels", "probability"])
        for (method, way), curve in curves.items():
            for share, probability in zip(shares[way], curve.tolist(), strict=True):
                writer.writerow([method, way, f"{share:.6g}", f"{probability:.6g}"])
    methods = list(dict.fromkeys(method for method, _ in curves))
    figure = Figure(figsize=(4.2 * len(ways) + 1.8, 3.8), dpi=100, layout="constrained")
    for axes, way in zip(figure.subplots(1, len(ways), squeeze=False)[0], ways, strict=True):
        for number, method in enumerate(methods):
            if (method, way) in curves:
                # Twenty colors, the strong ones first; no two of the eighteen methods look alike.
                color = colormaps["tab20"]((2 * number % 20 + number // 10) / 20 + 0.01)
                axes.plot(shares[way], curves[method, way].tolist(), color=color, label=TITLES.get(method, method))
        axes.set(title=way.replace("_", " "), xlabel="share of the pixels", ylim=(0, 1))
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right center", fontsize=7)
    figure.axes[0].set_ylabel("probability of the class")
    canvas: Any = FigureCanvasAgg(figure)
    canvas.print_png(str(picture))
    return [table, picture]


def write_panels(
    evaluator: Evaluator, found: EvaluatedImages, images: EvaluationImages, count: int, folder: Path
) -> list[Path]:
    """A sheet for each score: a row for each method, its best maps and then its worst ones.

    Args:
        evaluator: of the scores.
        found: with small maps.
        images: the same ones.
        count: best, and worst.
        folder: where they are written, `<score>.png`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    seen = _Pictures(images)
    paths = []
    for name in evaluator.metrics:
        if METRICS[name].of_network:
            continue
        metric = evaluator.metric(name)
        rows = []
        for method in evaluator.methods:
            scores = metric.image_scores(found.rows[method, name])
            chosen = _best_and_worst(scores, count, higher=bool(metric.higher_is_better))
            if chosen:
                tiles = [_tile(seen, found, method, place, float(scores[place]), kind) for place, kind in chosen]
                rows.append(Panel([note_tile("", tiles[0].pixels, TITLES[method]), *tiles]))
        if rows:
            path = folder / f"{name}.png"
            # Methods may have been able to rank different numbers of images.
            longest = max(len(row.tiles) for row in rows)
            write_png(contact_sheet([row for row in rows if len(row.tiles) == longest], _title(evaluator, name)), path)
            paths.append(path)
    return paths


def _title(evaluator: Evaluator, name: str) -> str:
    better = "higher" if evaluator.metric(name).higher_is_better else "lower"
    return f"{name}: best and worst maps, {better} is better"


def _best_and_worst(scores: Tensor, count: int, *, higher: bool) -> list[tuple[int, str]]:
    """Places of the best and the worst of the images that have a score, and which they are; none of them twice."""
    known = scores.isfinite().nonzero().flatten()
    order = known[scores[known].argsort(descending=higher, stable=True)].tolist()
    count = min(count, len(order) // 2) if len(order) > 1 else 0
    best = [(place, f"best {rank}") for rank, place in enumerate(order[:count], start=1)]
    worst = [(place, f"worst {rank}") for rank, place in enumerate(order[::-1][:count], start=1)]
    return best + worst


def _tile(seen: _Pictures, found: EvaluatedImages, method: str, place: int, score: float, kind: str) -> Tile:
    picture = seen.of(found.indices[place])
    small = found.thumbnails[method][place].float()[None, None] / 255
    cam = F.interpolate(small, size=picture.shape[-2:], mode="bilinear", align_corners=False)[0, 0]
    return map_tile(kind, picture, cam, f"{score:.3g} (no. {found.indices[place]})")


class _Pictures:
    """What images look like, each read once."""

    def __init__(self, images: EvaluationImages) -> None:
        self._images = images
        self._pictures: dict[int, Tensor] = {}

    def of(self, index: int) -> Tensor:
        if index not in self._pictures:
            with torch.no_grad():
                self._pictures[index] = reduced(self._images.pictures([index])[0])
        return self._pictures[index]
