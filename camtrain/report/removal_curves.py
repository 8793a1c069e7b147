"""Figure: for each point, the probability of the class while pixels are inserted or deleted."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from camtrain.methods import method_title
from camtrain.report.figure_style import line_style
from camtrain.report.points import PointRuns
from camtrain.study import Study

_WAYS = ("insertion", "deletion")
Curves = dict[tuple[str, str], list[tuple[float, float]]]
"""Pairs (fraction of pixels, probability), by method and way."""


def removal_curves(study: Study, points: Sequence[PointRuns]) -> Figure | None:
    """A panel for each way and method, with the mean over each point's seeds. `None` if no run has curves."""
    found = [
        [curves for trial in runs.trials.values() if (curves := _read(study.evaluation_of(trial)))] for runs in points
    ]
    present = [curves for of_seeds in found for curves in of_seeds]
    methods = list(dict.fromkeys(method for curves in present for method, way in curves if way in _WAYS))
    ways = [way for way in _WAYS if any((method, way) in curves for curves in present for method in methods)]
    if not methods:
        return None
    figure = Figure(figsize=(2.9 * len(methods), 2.5 * len(ways) + 0.6), layout="constrained")
    grid = figure.subplots(len(ways), len(methods), squeeze=False, sharex=True, sharey="row")
    lines: dict[int, Line2D] = {}
    for row, way in enumerate(ways):
        for column, method in enumerate(methods):
            panel = grid[row][column]
            for number, (runs, of_seeds) in enumerate(zip(points, found, strict=True)):
                taken = [np.array(each[method, way]) for each in of_seeds if (method, way) in each]
                if taken:
                    fractions, probabilities = np.mean(np.stack(taken), axis=0).T
                    style = line_style(number) | {"markevery": max(1, len(fractions) // 6)}
                    (lines[number],) = panel.plot(fractions, probabilities, label=runs.label, linewidth=1.4, **style)
            panel.set_title(f"{way}, {method_title(method)}", fontsize=9)
    for panel in grid[-1]:
        panel.set_xlabel("fraction of the pixels")
    for panels in grid:
        panels[0].set_ylabel("probability")
    # Handles come from all panels, since a point may lack the method of the first panel.
    named = [lines[number] for number in sorted(lines)]
    figure.legend(handles=named, loc="outside lower center", ncols=min(4, len(named)))
    return figure


def _read(folder: Path) -> Curves:
    path = folder / "curves.csv"
    curves: Curves = {}
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                place = (float(row["share_of_pixels"]), float(row["probability"]))
                curves.setdefault((row["method"], row["way"]), []).append(place)
    return curves
