"""The mean probability of the class while pixels are inserted or removed."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor

from camtrain.evaluation.evaluated_images import EvaluatedImages
from camtrain.evaluation.evaluation_settings import EvaluationSettings
from camtrain.evaluation.evaluator import Evaluator
from camtrain.evaluation.metric_specs import METRICS
from camtrain.files import whole_file, write_whole
from camtrain.messages import printable
from camtrain.methods import is_control, method_title
from camtrain.metrics import ROAD, DeletionAUC, InsertionAUC

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLES: tuple[Literal["-", "--"], ...] = ("-", "--")  # of the first and the second of two networks

Curves = dict[tuple[str, str], Tensor]
"""(T + 1,) mean curves by method and by way: insertion, deletion, and the two of ROAD."""


def mean_curves(evaluator: Evaluator, found: EvaluatedImages) -> Curves:
    """The mean probability along the ways of insertion, deletion and ROAD, for each method that was counted."""
    curves: Curves = {}
    for method, name in evaluator.pairs:
        metric, total = evaluator.metric(name), found.rows[method, name].sum(dim=0)
        if not bool(total.any()):
            continue
        if isinstance(metric, InsertionAUC | DeletionAUC) and not METRICS[name].restates:
            curves[method, name.removesuffix("_auc")] = metric.mean_curve(total)
        elif isinstance(metric, ROAD):
            most, least = metric.mean_curves(total)
            curves |= {(method, "road_most_relevant_first"): most, (method, "road_least_relevant_first"): least}
    return curves


def curves_figure(curves: Curves, settings: EvaluationSettings) -> Figure:
    """A figure with one plot for each way and one line for each method."""
    from matplotlib.figure import Figure

    ways = list(dict.fromkeys(way for _, way in curves))
    methods = list(dict.fromkeys(method for method, _ in curves))
    figure = Figure(figsize=(4.2 * len(ways) + 1.8, 3.8), dpi=100, layout="constrained")
    for axes, way in zip(figure.subplots(1, len(ways), squeeze=False)[0], ways, strict=True):
        for number, method in enumerate(methods):
            if (method, way) in curves:
                color = _color(number)
                axes.plot(
                    fractions_of(way, settings),
                    curves[method, way].tolist(),
                    color=color,
                    label=method_title(method),
                )
        axes.set(title=way.replace("_", " "), xlabel="fraction of the pixels", ylim=(0, 1))
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right center", fontsize=7)
    figure.axes[0].set_ylabel("probability of the class")
    return figure


def compared_curves_figure(both: Sequence[Curves], titles: Sequence[str], settings: EvaluationSettings) -> Figure:
    """A figure with one plot for each way, in which the curves of two networks lie over each other.

    Each method has a color, the uniform map is gray, and shuffled maps are left out.

    Args:
        both: The curves of the first network, solid, and of the second one, dashed.
        titles: What the two networks are called.
        settings: The settings of both evaluations.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    pairs = [pair for pair in both[0] if pair in both[1] and (not is_control(pair[0]) or pair[0] == "uniform")]
    ways, methods = (list(dict.fromkeys(words)) for words in ([way for _, way in pairs], [name for name, _ in pairs]))
    colors = {
        method: _color(number) for number, method in enumerate(method for method in methods if not is_control(method))
    }
    figure = Figure(figsize=(4.2 * len(ways) + 2.4, 4.0), dpi=100, layout="constrained")
    for axes, way in zip(figure.subplots(1, len(ways), squeeze=False)[0], ways, strict=True):
        for curves, style in zip(both, _STYLES, strict=True):
            for method in methods:
                if (method, way) in pairs:
                    values, color = curves[method, way].tolist(), colors.get(method, "#999999")
                    axes.plot(fractions_of(way, settings), values, color=color, linestyle=style)
        axes.set(title=way.replace("_", " "), xlabel="fraction of the pixels", ylim=(0, 1))
    handles = [Line2D([], [], color=colors.get(method, "#999999"), label=method_title(method)) for method in methods]
    networks = [
        Line2D([], [], color="black", linestyle=style, label=printable(title))
        for title, style in zip(titles, _STYLES, strict=True)
    ]
    figure.legend(handles=handles, loc="outside right center", fontsize=7)
    figure.legend(handles=networks, loc="outside lower center", fontsize=7)
    figure.axes[0].set_ylabel("probability of the class")
    return figure


def _color(number: int) -> Any:
    """Of twenty colors, the strong ones first; no two of the nineteen methods look alike."""
    from matplotlib import colormaps

    return colormaps["tab20"]((2 * number % 20 + number // 10) / 20 + 0.01)


def fractions_of(way: str, settings: EvaluationSettings) -> list[float]:
    """The fractions of the pixels at which the curve of a way has its values."""
    if way.startswith("road"):
        return list(settings.removed_shares)
    return [step / settings.num_steps for step in range(settings.num_steps + 1)]


def write_curves(curves: Curves, settings: EvaluationSettings, folder: Path) -> list[Path]:
    """Write `curves.csv` and `curves.png`.

    Args:
        curves: By method and way.
        settings: The settings of the evaluation.
        folder: Where they are written.

    Returns:
        The paths; none where there is no curve.
    """
    if not curves:
        return []
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["method", "way", "share_of_pixels", "probability"])
    for (method, way), curve in curves.items():
        for fraction, probability in zip(fractions_of(way, settings), curve.tolist(), strict=True):
            writer.writerow([method, way, f"{fraction:.6g}", f"{probability:.6g}"])
    write_whole(folder / "curves.csv", text.getvalue())
    with whole_file(folder / "curves.png") as unfinished:
        curves_figure(curves, settings).savefig(unfinished)
    return [folder / "curves.csv", folder / "curves.png"]
