"""Figure: the time and memory that a training step of each point takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from textwrap import fill

from matplotlib.figure import Figure

from camtrain.report.costs import MEMORY, cost_with_unit, time_column, time_title
from camtrain.report.figure_style import line_style
from camtrain.report.point_comparison import PointComparison


def cost_bars(compared: Sequence[PointComparison], *, is_narrow: bool = False) -> Figure | None:
    """Time and memory of a step divided by the baseline's: mean and standard deviation over the seeds.

    `None` if no run has logged them. What they are in seconds and MiB stands beside the bars.

    Args:
        compared: All points, each against its baseline.
        is_narrow: Whether the panels stand one below the other, for a telephone.
    """
    if is_narrow:
        return _narrow(compared)
    labels = [each.runs.label for each in compared]
    width = 6.5 + 0.07 * max(map(len, labels))  # inches; a letter is 0.07
    figure = Figure(figsize=(width, 0.42 * len(compared) + 1.3), layout="constrained")
    parts = _parts(compared)
    panels = figure.subplots(1, len(parts), sharey=True)
    drawn = False
    for panel, (title, column) in zip(panels, parts.items(), strict=True):
        for place, each in enumerate(compared):
            cost, base = each.runs.estimate(column), each.baseline.estimate(column)
            if not (cost.count and base.count and base.mean):
                continue
            drawn = True
            mean = cost.mean / base.mean
            spread = 0.0 if math.isnan(cost.std) else cost.std / base.mean
            panel.barh(place, mean, xerr=spread, capsize=3, height=0.6, color=line_style(place)["color"])
            said = f"{mean:.2f} × ({cost_with_unit(cost.mean, column)})"
            panel.annotate(said, (mean + spread, place), xytext=(4, -3), textcoords="offset points", fontsize=8)
        panel.set_title(f"{title}, times the baseline's", fontsize=9)
        panel.margins(x=0.5)  # room for the words beside the longest bar
        panel.set_xlim(left=0)
        panel.grid(visible=True, axis="x")
        panel.grid(visible=False, axis="y")
    panels[0].set_yticks(range(len(labels)), labels)
    panels[0].invert_yaxis()
    return figure if drawn else None


def _parts(compared: Sequence[PointComparison]) -> dict[str, str]:
    """The column of each panel, by its title."""
    time = time_column([each.runs for each in compared])
    return {time_title(time): time, "peak memory": MEMORY}


def _narrow(compared: Sequence[PointComparison]) -> Figure | None:
    """The bars one below the other, with the words of each in its label."""
    figure = Figure(figsize=(3.5, 2 * (0.2 * sum(2 + len(each.runs.label) // 24 for each in compared) + 0.9)))
    figure.set_layout_engine("constrained")
    drawn, parts = False, _parts(compared)
    for panel, (title, column) in zip(figure.subplots(len(parts), 1), parts.items(), strict=True):
        words = []
        for place, each in enumerate(compared):
            cost, base = each.runs.estimate(column), each.baseline.estimate(column)
            said = "–"
            if cost.count and base.count and base.mean:
                drawn = True
                panel.barh(place, cost.mean / base.mean, height=0.6, color=line_style(place)["color"])
                said = f"{cost.mean / base.mean:.2f} × ({cost_with_unit(cost.mean, column)})"
            words.append(fill(f"{each.runs.label}: {said}", 24))
        panel.set_yticks(range(len(words)), words, fontsize=8)
        panel.invert_yaxis()
        panel.set_title(f"{title}, times the baseline's", fontsize=9)
        panel.grid(visible=True, axis="x")
        panel.grid(visible=False, axis="y")
    return figure if drawn else None
