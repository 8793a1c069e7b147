"""Figure: accuracy and each score over λ."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from camtrain.report.answer import Answer
from camtrain.report.figure_style import legend_below, line_style
from camtrain.report.points import WEIGHT, PointRuns, short
from camtrain.report.score_columns import score_columns
from camtrain.report.value_names import value_key

_WIDTH, _HEIGHT = 3.3, 2.6  # inches of one panel
_PER_ROW = 3


def score_curves(points: Sequence[PointRuns], answer: Answer, *, is_narrow: bool = False) -> Figure | None:
    """A panel for accuracy and one for each metric, over λ: mean and standard deviation over the seeds.

    `None` if there is neither an accuracy nor a score.

    The values of λ are equally spaced, since they are usually 0 and powers. There is one line for each method and each
    combination of the grid's other keys.

    Args:
        points: The points with a finished run.
        answer: The answer, which names the column of the accuracy.
        is_narrow: Whether the panels stand one below the other, for a telephone.
    """
    per_row = 1 if is_narrow else _PER_ROW
    key = WEIGHT if WEIGHT in points[0].point else next(iter(points[0].point))
    names = {value_key(runs.point[key]): runs.name_of(key) for runs in points}
    panels: dict[str, list[tuple[str, str]]] = {}
    if answer.accuracy:
        panels[f"{answer.accuracy_title} ↑, %"] = [("", answer.accuracy)]
    for score in score_columns(points):
        if not score.is_control:
            panels.setdefault(f"{score.title} {score.arrow}, %", []).append((score.method_title, score.column))
    if not panels:
        return None
    rows = math.ceil(len(panels) / per_row)
    columns = min(per_row, len(panels))
    figure = Figure(figsize=(_WIDTH * columns, _HEIGHT * rows + 0.7), layout="constrained")
    grids = figure.subplots(rows, columns, squeeze=False).flatten()
    lines: dict[tuple[str, str], tuple[str, dict[str, Any]]] = {}  # label and style, by method and other values
    for panel, (title, columns_of) in zip(grids, panels.items(), strict=False):
        for method, column in columns_of:
            for others, runs in _by_others(points, key).items():
                label = ", ".join(word for word in (method, _others_label(runs[0], key)) if word)
                _, style = lines.setdefault((method, others), (label, line_style(len(lines))))
                _line(panel, names, runs, key, column, style)
        panel.set_title(title, fontsize=9)
    for panel in grids[len(panels) :]:
        panel.set_axis_off()
    for panel in grids[max(0, len(panels) - per_row) : len(panels)]:
        panel.set_xlabel(short(key))
    named = [(label, style) for label, style in lines.values() if label]
    if named:
        legend_below(figure, [_panel_line(style) for _, style in named], [label for label, _ in named])
    return figure


def _panel_line(style: Mapping[str, Any]) -> Any:
    """A line for the legend."""
    return Line2D([], [], **style)


def _by_others(points: Sequence[PointRuns], along: str) -> dict[str, list[PointRuns]]:
    """The points, grouped by the values of all keys except the one on the horizontal axis."""
    found: dict[str, list[PointRuns]] = {}
    for runs in points:
        others = {key: value for key, value in runs.point.items() if key != along}
        found.setdefault(value_key(others), []).append(runs)
    return found


def _others_label(runs: PointRuns, along: str) -> str:
    return runs.label_of(key for key in runs.point if key != along)


def _line(
    panel: Axes, names: Mapping[str, str], runs: Sequence[PointRuns], key: str, column: str, style: Mapping[str, Any]
) -> None:
    by_value = {value_key(each.point[key]): each.estimate(column) for each in runs}
    known = [(place, by_value[value]) for place, value in enumerate(names) if value in by_value]
    estimates = [(place, estimate) for place, estimate in known if estimate.count]
    means = [100 * estimate.mean for _, estimate in estimates]
    spreads = [0.0 if math.isnan(estimate.std) else 100 * estimate.std for _, estimate in estimates]
    panel.errorbar([place for place, _ in estimates], means, yerr=spreads, capsize=3, linewidth=1.4, **style)
    panel.set_xticks(range(len(names)), list(names.values()))
