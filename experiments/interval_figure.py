"""A figure of means with their intervals: a line for each way to train, a panel for each thing that is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from camtrain.report.figure_style import legend_below, line_style, report_style, write_figure
from camtrain.report.points import Estimate
from experiments.compared_settings import half_interval, is_certain


@dataclass(frozen=True)
class Panel:
    """A panel of the figure.

    Attributes:
        title: What is above it.
        xlabel: What is below it.
        scale: What the numbers are multiplied by: 100 shows fractions as points.
    """

    title: str
    xlabel: str = "points against plain training"
    scale: float = 100.0


def write_intervals(
    rows: Mapping[str, Mapping[Panel, Mapping[str, Estimate]]], panels: Sequence[Panel], path: Path
) -> None:
    """Draw changes, panel by panel, with their 95 % intervals; a mark is hollow unless its interval excludes 0.

    Panels with the same `xlabel` share one scale, so that a long interval looks like one.

    Args:
        rows: The estimates by the title of the line, the panel, and what is estimated: several in a panel differ in
            color and mark, and are told apart by a legend.
        panels: The panels, from left to right.
        path: The file without a suffix; only the PNG is kept.
    """
    labels = list(dict.fromkeys(label for cells in rows.values() for each in cells.values() for label in each))
    with report_style():
        width, height = 2.4 + 2.4 * len(panels), 1.4 + max(0.36, 0.16 * len(labels)) * len(rows)
        figure = Figure(figsize=(width, height), layout="constrained")
        axes_of = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
        first: dict[str, Axes] = {}
        for axes, panel in zip(axes_of, panels, strict=True):
            if (same := first.setdefault(panel.xlabel, axes)) is not axes:
                axes.sharex(same)
            _draw(axes, panel, [cells.get(panel, {}) for cells in rows.values()], labels)
        axes_of[0].set_yticks(range(len(rows)), rows)
        axes_of[0].invert_yaxis()
        _add_legend(figure, labels)
        write_figure(figure, path)[1].unlink()


def _add_legend(figure: Figure, labels: Sequence[str]) -> None:
    """What the marks stand for, if there are several, and what a hollow one says."""
    shown = list(labels) if len(labels) > 1 else []
    styles = [line_style(number) | {"linestyle": "none"} for number in range(len(shown))]
    hollow = {"marker": "o", "linestyle": "none", "color": "#888888", "markerfacecolor": "white", "markersize": 5}
    marks = [figure.axes[0].plot([], [], **style)[0] for style in (*styles, hollow)]
    legend_below(figure, marks, [*shown, "hollow: the interval includes 0, or there is one seed"])


def _draw(axes: Axes, panel: Panel, cells: Sequence[Mapping[str, Estimate]], labels: Sequence[str]) -> None:
    axes.set(title=panel.title, xlabel=panel.xlabel)
    axes.grid(visible=True, axis="both")
    axes.axvline(0, color="#888888", linewidth=1.2)
    for line, estimates in enumerate(cells):
        for label, estimate in estimates.items():
            number = labels.index(label)
            style = line_style(number) | {"linestyle": "none"}
            # Several marks of a line lie around its height.
            height = line + 0.3 * (number - (len(labels) - 1) / 2)
            spread = half_interval(estimate) * panel.scale / 100
            fill = {} if is_certain(estimate, digits=1) else {"markerfacecolor": "white"}
            axes.errorbar(panel.scale * estimate.mean, height, xerr=spread, capsize=2, **fill, **style)
