"""Figure: accuracy against the gain of the maps, with the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from camtrain.report.answer import Answer
from camtrain.report.figure_style import legend_below, line_style
from camtrain.report.point_comparison import PointComparison


def pareto_front(values: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the pairs on the Pareto front: no other pair is better in one value and at least as good in the other.

    Returns:
        The indices, sorted by rising first value.

    Example:
        >>> pareto_front([(1, 5), (2, 4), (2, 3), (3, 1), (0, 5)])
        [0, 1, 3]
    """
    order = sorted(range(len(values)), key=lambda place: (-values[place][0], -values[place][1]))
    front, highest = [], -math.inf
    for place in order:
        if values[place][1] > highest:
            front.append(place)
            highest = values[place][1]
    return front[::-1]


def pareto_plane(answer: Answer, *, is_narrow: bool = False) -> Figure | None:
    """A mark for each point at its accuracy and gain against the baseline, with bars of one standard deviation.

    `None` if no point can be compared.

    Args:
        answer: The answer, with all points.
        is_narrow: Whether the figure is for a telephone.
    """
    known = [each for each in answer.compared if each.gain.count and each.accuracy.count]
    if all(each.is_baseline for each in known):
        return None
    places = [(100 * each.accuracy.mean, 100 * each.gain.mean) for each in known]
    figure = Figure(figsize=(3.5, 4.2) if is_narrow else (6.2, 4.2), layout="constrained")
    axes = figure.subplots()
    front = [places[place] for place in pareto_front(places)]
    axes.plot(*zip(*front, strict=True), color="#888888", linewidth=1.2, linestyle="--", zorder=1, label="Pareto front")
    for number, (each, (x, y)) in enumerate(zip(known, places, strict=True)):
        style = line_style(number) | {"linestyle": "none", "markersize": 8}
        style["label"] = _label(each, answer)
        axes.errorbar(x, y, xerr=_spread(each.accuracy.std), yerr=_spread(each.gain.std), capsize=3, **style)
    axes.margins(0.15)
    name = answer.accuracy_title
    axes.set(xlabel=f"{name} against the baseline, points →", ylabel="gain of the maps, points →")
    axes.grid(visible=True, axis="both")
    # Below the plane rather than beside the marks, which often lie close together.
    legend_below(figure, *axes.get_legend_handles_labels())
    return figure


def _label(each: PointComparison, answer: Answer) -> str:
    mark = " (best)" if each is answer.best else " (baseline)" if each.is_baseline else ""
    return f"{each.runs.label}{mark}"


def _spread(std: float) -> float:
    return 0.0 if math.isnan(std) else 100 * std
