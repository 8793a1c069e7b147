"""Figure: for each point, the probability of the class while pixels are inserted or deleted."""

from __future__ import annotations

import csv
import math
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from camtrain.files import DamagedFileError, said_aside, word_of_cell
from camtrain.messages import CamtrainWarning, printable
from camtrain.methods import method_title
from camtrain.report.figure_style import legend_below, line_style
from camtrain.report.points import PointRuns
from camtrain.study import MADE_AGAIN, Study, Trial

_WAYS = ("insertion", "deletion")
_LARGEST = 16 * 2**20  # bytes of a file of curves
Curves = dict[tuple[str, str], list[tuple[float, float]]]
"""Pairs (fraction of pixels, probability), by method and way."""


def removal_curves(study: Study, points: Sequence[PointRuns], *, is_narrow: bool = False) -> Figure | None:
    """A panel for each way and method, with the mean over each point's seeds. `None` if no run has curves.

    Args:
        study: The study.
        points: The points with a finished run.
        is_narrow: Whether the panels stand one below the other, for a telephone.
    """
    found = [[curves for trial in runs.trials.values() if (curves := _curves(study, trial))] for runs in points]
    present = [curves for of_seeds in found for curves in of_seeds]
    methods = list(dict.fromkeys(method for curves in present for method, way in curves if way in _WAYS))
    ways = [way for way in _WAYS if any((method, way) in curves for curves in present for method in methods)]
    if not methods:
        return None
    rows, columns = (len(ways) * len(methods), 1) if is_narrow else (len(ways), len(methods))
    figure = Figure(figsize=((3.4 if is_narrow else 2.9) * columns, 2.5 * rows + 0.6), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey="row")
    lines: dict[int, Line2D] = {}
    for row, way in enumerate(ways):
        for column, method in enumerate(methods):
            panel = grid.flat[row * len(methods) + column]
            for number, (runs, of_seeds) in enumerate(zip(points, found, strict=True)):
                taken = _alike([each[method, way] for each in of_seeds if (method, way) in each])
                if taken:
                    fractions, probabilities = np.mean(np.array(taken), axis=0).T
                    style = line_style(number) | {"markevery": max(1, len(fractions) // 6)}
                    (lines[number],) = panel.plot(fractions, probabilities, label=runs.label, linewidth=1.4, **style)
            panel.set_title(printable(f"{way}, {method_title(method)}"), fontsize=9)
    for panel in grid[-1]:
        panel.set_xlabel("fraction of the pixels")
    for panels in grid:
        panels[0].set_ylabel("probability")
    # Handles come from all panels, since a point may lack the method of the first panel.
    named = [lines[number] for number in sorted(lines)]
    legend_below(figure, named, [str(line.get_label()) for line in named])
    return figure


def _curves(study: Study, trial: Trial) -> Curves:
    """The curves of a trial; none if it has none, or their file is damaged."""
    path = study.evaluation_file(trial, "curves.csv")
    try:
        return {} if path is None else _read(path)
    except DamagedFileError as error:
        warnings.warn(f"{said_aside(error)}; {MADE_AGAIN}", CamtrainWarning, stacklevel=2)
        return {}


def _read(path: Path) -> Curves:
    if not 0 < path.stat().st_size <= _LARGEST:
        raise DamagedFileError(path, "it is empty" if path.stat().st_size == 0 else "it is larger than any curves are")
    curves: Curves = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file, strict=True):
                place = (float(row["share_of_pixels"]), float(row["probability"]))
                if not all(map(math.isfinite, place)):
                    raise ValueError(f"expected finite numbers, got {place}")
                curves.setdefault((word_of_cell(row["method"]), row["way"]), []).append(place)
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise DamagedFileError(path, f"it has no {error}" if isinstance(error, KeyError) else str(error)) from error
    by_way: dict[str, set[tuple[float, ...]]] = {}
    for (_, way), curve in curves.items():
        by_way.setdefault(way, set()).add(tuple(fraction for fraction, _ in curve))
    if not curves or any(len(fractions) > 1 for fractions in by_way.values()):
        raise DamagedFileError(path, "its curves are not complete")
    return curves


def _alike(curves: Sequence[list[tuple[float, float]]]) -> list[list[tuple[float, float]]]:
    """The curves at the fractions of the longest one; those of another number of steps have no mean with it."""
    longest = [fraction for fraction, _ in max(curves, key=len, default=[])]
    return [curve for curve in curves if [fraction for fraction, _ in curve] == longest]
