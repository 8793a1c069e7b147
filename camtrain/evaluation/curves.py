"""The mean probability of the class while pixels are inserted or removed."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from camtrain.evaluation.evaluated_images import EvaluatedImages
from camtrain.evaluation.evaluation_settings import EvaluationSettings
from camtrain.evaluation.evaluator import Evaluator
from camtrain.evaluation.metric_specs import METRICS
from camtrain.files import whole_file, write_whole
from camtrain.methods import method_title
from camtrain.metrics import ROAD, DeletionAUC, InsertionAUC

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    ways = list(dict.fromkeys(way for _, way in curves))
    methods = list(dict.fromkeys(method for method, _ in curves))
    figure = Figure(figsize=(4.2 * len(ways) + 1.8, 3.8), dpi=100, layout="constrained")
    for axes, way in zip(figure.subplots(1, len(ways), squeeze=False)[0], ways, strict=True):
        for number, method in enumerate(methods):
            if (method, way) in curves:
                # Twenty colors, the strong ones first; no two of the nineteen methods look alike.
                color = colormaps["tab20"]((2 * number % 20 + number // 10) / 20 + 0.01)
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
