"""The scores of an evaluation, as tables on screen and as files."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from camtrain.cli.evaluation_run import EvaluatedImages
from camtrain.evaluation import (
    METRICS,
    NETWORK,
    ConfidenceInterval,
    Evaluator,
    difference_interval,
    resampling_weights,
    score_interval,
)
from camtrain.methods import TITLES
from camtrain.metrics.win import TIE

_WIDTH = 120  # of a printed table, in characters
_GROUPS = ("faithfulness", "localization", "sanity", "gradient")


@dataclass(frozen=True)
class Cell:
    """The score of a method, by one metric.

    Attributes:
        method: its name, or `NETWORK`.
        metric: its name.
        interval: the score with its 95 % interval; NaN where nothing was counted.
        images: that were counted.
        higher_is_better: which way is better.
    """

    method: str
    metric: str
    interval: ConfidenceInterval
    images: int
    higher_is_better: bool


def scored(evaluator: Evaluator, found: EvaluatedImages, resamples: int, seed: int) -> list[Cell]:
    """The score of every method by every metric."""
    weights = resampling_weights(len(found.indices), resamples, seed)
    cells = []
    for method, name in evaluator.pairs:
        metric, rows = evaluator.metric(name), found.rows[method, name]
        counted = int(metric.image_scores(rows).isfinite().sum())
        interval = score_interval(metric, rows, weights)
        cells.append(Cell(method, name, interval, counted, bool(metric.higher_is_better)))
    return cells


def compared(
    evaluator: Evaluator, found: EvaluatedImages, other: EvaluatedImages, resamples: int, seed: int
) -> list[Cell]:
    """By how much the other's scores are higher, on the same images, where both have the method."""
    weights = resampling_weights(len(found.indices), resamples, seed)
    cells = []
    for method, name in evaluator.pairs:
        if (method, name) not in other.rows:
            continue
        metric, rows, other_rows = evaluator.metric(name), found.rows[method, name], other.rows[method, name]
        both = metric.image_scores(rows).isfinite() & metric.image_scores(other_rows).isfinite()
        kept = both.unsqueeze(1)
        interval = difference_interval(metric, rows * kept, other_rows * kept, weights)
        cells.append(Cell(method, name, interval, int(both.sum()), bool(metric.higher_is_better)))
    return cells


def score_tables(cells: Sequence[Cell], *, signed: bool = False) -> str:
    """Tables for people: methods and metrics, in percent, with arrows to the better side and 95 % intervals.

    A metric that counted no image is left out.

    Args:
        cells: of all methods and metrics.
        signed: whether they are differences.

    Example:
        >>> cell = Cell("grad_cam", "average_drop", ConfidenceInterval(0.25, 0.2, 0.3), 9, False)
        >>> print(score_tables([cell]))
        faithfulness, %      drop ↓
        ----------------------------------
        Grad-CAM             25.0 [20.0, 30.0]
    """
    by_place = {(cell.method, cell.metric): cell for cell in cells}
    counted = {cell.metric for cell in cells if cell.images}
    tables = []
    for group in _GROUPS:
        names = [name for name in dict.fromkeys(cell.metric for cell in cells) if METRICS[name].group == group]
        names = [name for name in names if name in counted]
        methods = list(dict.fromkeys(cell.method for cell in cells if cell.metric in names))
        columns = [
            [_heading(cells, name), *(_shown(by_place[method, name].interval, signed=signed) for method in methods)]
            for name in names
        ]
        first = [f"{group}, %", *(TITLES.get(method, method) for method in methods)]
        tables += [_table([first, *block]) for block in _blocks(first, columns)]
    return "\n\n".join(tables)


def cost_line(found: EvaluatedImages, methods: int) -> str:
    """How many images went through the network for each image and, where it depends on it, each method.

    Example:
        >>> import torch
        >>> none = torch.zeros(2)
        >>> passes = {"image": 2, "masked_scores": 4}
        >>> print(cost_line(EvaluatedImages([0, 1], none, none, none, none, {}, {}, passes, {}), methods=2))
        forward passes per image, beside those that make the maps: image 1, masked_scores 2 (1 per method)
    """
    images = max(1, len(found.indices))
    parts = []
    for need, count in found.passes.items():
        of_methods = f" ({count / images / methods:.3g} per method)" if need != "image" and methods > 1 else ""
        parts.append(f"{need} {count / images:.3g}{of_methods}")
    return f"forward passes per image, beside those that make the maps: {', '.join(parts)}"


def write_scores(cells: Sequence[Cell], path: Path) -> None:
    """A line for each method and metric, as fractions."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["method", "metric", "score", "low_95", "high_95", "images", "better"])
        for cell in cells:
            numbers = ["" if math.isnan(number) else f"{number:.6g}" for number in cell.interval]
            better = "higher" if cell.higher_is_better else "lower"
            writer.writerow([cell.method, cell.metric, *numbers, cell.images, better])


def write_json(cells: Sequence[Cell], about: Mapping[str, Any], path: Path) -> None:
    """The same with all that was said of the evaluation; NaN is null."""
    scores: dict[str, dict[str, Any]] = {}
    for cell in cells:
        numbers = [number if math.isfinite(number) else None for number in cell.interval]
        entry = dict(zip(("score", "low_95", "high_95"), numbers, strict=True)) | {"images": cell.images}
        scores.setdefault(cell.method, {})[cell.metric] = entry
    path.write_text(json.dumps({**about, "scores": scores}, indent=2) + "\n", encoding="utf-8")


def win_matrix(evaluator: Evaluator, found: EvaluatedImages) -> dict[str, dict[str, float]]:
    """Share of images on which one method drops less than another, by both names; empty where no drop was scored."""
    drops = {
        method: evaluator.metric(name).image_scores(found.rows[method, name])
        for method, name in evaluator.pairs
        if name == "average_drop"
    }
    matrix: dict[str, dict[str, float]] = {}
    for one, drop in drops.items():
        for other, other_drop in drops.items():
            both = drop.isfinite() & other_drop.isfinite()
            if one != other and bool(both.any()):
                matrix.setdefault(one, {})[other] = float((drop + TIE < other_drop)[both].double().mean())
    return matrix


def write_images(evaluator: Evaluator, found: EvaluatedImages, path: Path) -> None:
    """A line for each image and method, with its score by every metric."""
    of_maps = [name for name in evaluator.metrics if not METRICS[name].of_network]
    of_network = [name for name in evaluator.metrics if METRICS[name].of_network]
    scores = {cell: evaluator.metric(cell[1]).image_scores(found.rows[cell]) for cell in evaluator.pairs}
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["index", "label", "predicted", "explained", "probability", "method", *of_maps, *of_network])
        for method in evaluator.methods:
            cells = [*((method, name) for name in of_maps), *((NETWORK, name) for name in of_network)]
            for row, index in enumerate(found.indices):
                about = [index, _label(found.labels[row]), int(found.predictions[row]), int(found.class_idx[row])]
                numbers = [float(scores[cell][row]) for cell in cells]
                shown = ["" if math.isnan(number) else f"{number:.6g}" for number in numbers]
                writer.writerow([*about, f"{float(found.scores[row]):.6g}", method, *shown])


def _label(label: Tensor) -> int | str:
    return "" if int(label) < 0 else int(label)


def _heading(cells: Sequence[Cell], metric: str) -> str:
    higher = next(cell.higher_is_better for cell in cells if cell.metric == metric)
    return f"{METRICS[metric].title} {'↑' if higher else '↓'}"


def _shown(interval: ConfidenceInterval, *, signed: bool) -> str:
    if math.isnan(interval.value):
        return "–"
    sign = "+" if signed else ""
    value, low, high = (f"{100 * number:{sign}.1f}" for number in interval)
    return f"{value} [{low}, {high}]"


def _blocks(first: list[str], columns: list[list[str]]) -> list[list[list[str]]]:
    """Columns in groups that fit beside the first one."""
    room = _WIDTH - max(map(len, first))
    blocks: list[list[list[str]]] = []
    left = 0
    for column in columns:
        width = max(map(len, column)) + 2
        if width > left or not blocks:
            blocks.append([])
            left = room
        blocks[-1].append(column)
        left -= width
    return blocks


def _table(columns: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in columns]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in zip(*columns, strict=True)]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])
