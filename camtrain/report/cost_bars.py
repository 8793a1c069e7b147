"""Figure: the time and memory that a training step of each point takes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from camtrain.report.costs import MEMORY, time_column, time_title
from camtrain.report.figure_style import line_style
from camtrain.report.point_comparison import PointComparison


def cost_bars(compared: Sequence[PointComparison]) -> Figure | None:
    """Time and memory of a step divided by the baseline's: mean and standard deviation over the seeds.

    `None` if no run has logged them.
    """
    labels = [each.runs.label for each in compared]
    width = 6.5 + 0.07 * max(map(len, labels))  # inches; a letter is 0.07
    figure = Figure(figsize=(width, 0.42 * len(compared) + 1.3), layout="constrained")
    time = time_column([each.runs for each in compared])
    parts = {time_title(time): time, "peak memory": MEMORY}
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
            panel.annotate(
                f"{mean:.2f}", (mean + spread, place), xytext=(4, -3), textcoords="offset points", fontsize=8
            )
        panel.set_title(f"{title} / baseline", fontsize=9)
        panel.margins(x=0.15)
        panel.grid(visible=True, axis="x")
        panel.grid(visible=False, axis="y")
    panels[0].set_yticks(range(len(labels)), labels)
    panels[0].invert_yaxis()
    return figure if drawn else None
