"""The tables of a report: one of all points, and one of all scores."""

from __future__ import annotations

import math
from collections.abc import Sequence

from camtrain.messages import signed_points
from camtrain.report.accuracies import accuracy_name
from camtrain.report.costs import MEMORY, cost_with_unit, time_column, time_title
from camtrain.report.point_comparison import PointComparison
from camtrain.report.points import Estimate, PointRuns
from camtrain.report.score_columns import ScoreColumn, score_columns
from camtrain.report.table import Table


def points_table(
    compared: Sequence[PointComparison],
    scores: Sequence[ScoreColumn],
    accuracy: str,
    accuracy_title: str,
    best: PointComparison | None,
) -> Table:
    """All points with their accuracy, losses, gain of the maps and cost.

    If controls or leakage were scored, there are columns for the gain beyond control and for the change of leakage.

    Args:
        compared: All points with a finished run.
        scores: The scores whose mean is the gain; without any, the table has no columns for the gain.
        accuracy: Column of the accuracy; the losses are those of the same split.
        accuracy_title: What it is called.
        best: The point that the answer names, if it names one.
    """
    headings = ["point", "seeds", f"{accuracy_title}, %", "L_C", "L_R"]
    headings += ["gain of the maps, points"] if scores else []
    has_control = any(each.beyond.count for each in compared)
    headings += ["gain beyond control, points"] if has_control else []
    has_leakage = any(each.leakage.count for each in compared)
    headings += ["leakage, points"] if has_leakage else []
    time = time_column([each.runs for each in compared])
    headings += [time_title(time), "peak memory"]
    stage = accuracy.partition("/")[0]
    rows = []
    for each in compared:
        runs = each.runs
        losses = [shown(runs.estimate(f"{stage}/loss_{name}"), digits=3) for name in ("classification", "regularizer")]
        gain = [_change(each, each.gain) + _missing_scores(each, len(scores))] if scores else []
        gain += [_change(each, each.beyond)] if has_control else []
        gain += [_change(each, each.leakage)] if has_leakage else []
        cost = [_ratio(each, time), _ratio(each, MEMORY)]
        rows.append([runs.label, str(len(runs.rows)), percent(runs.estimate(accuracy)), *losses, *gain, *cost])
    place = next((row for row, each in enumerate(compared) if each is best), None)
    title = "All points: mean ± standard deviation over seeds, changes with 95 % intervals"
    return Table(title, headings, rows, place)


def choice_table(selected: Sequence[PointComparison], accuracy: str, chosen: PointComparison | None) -> Table:
    """All points on the validation images that choose the best one.

    Args:
        selected: All points with a finished run, by their scores on validation images.
        accuracy: Column of the accuracy.
        chosen: The point that was chosen, if one was.
    """
    name = accuracy_name(accuracy)
    headings = ["point", f"{name}, %", f"change of {name}, points", "gain of the maps, points"]
    has_leakage = any(each.leakage.count for each in selected)
    headings += ["leakage, points"] if has_leakage else []
    rows = []
    for each in selected:
        gain = [_change(each, each.accuracy), _change(each, each.gain)]
        leakage = [_change(each, each.leakage)] if has_leakage else []
        rows.append([each.runs.label, percent(each.runs.estimate(accuracy)), *gain, *leakage])
    place = next((row for row, each in enumerate(selected) if each is chosen), None)
    return Table("The choice: all points on validation images, changes with 95 % intervals", headings, rows, place)


def score_table(points: Sequence[PointRuns], best: int | None) -> Table | None:
    """All scores: a row for each metric and method, a column for each point; `None` if no maps were scored.

    Args:
        points: The points with a finished run.
        best: Index of the point that the answer names; `None` if it names none.
    """
    scores = score_columns(points)
    if not scores:
        return None
    rows = []
    for score in scores:
        cells = [percent(runs.estimate(score.column)) for runs in points]
        rows.append([f"{score.title} {score.arrow}, {score.method_title}", *cells])
    title = "All scores of the maps in percent, mean ± standard deviation over the seeds; ↑: higher is better, ↓: lower"
    headings = ["score", *(runs.label for runs in points)]
    return Table(title, headings, rows, best_column=None if best is None else best + 1)


def percent(estimate: Estimate) -> str:
    """A fraction in percent.

    Example:
        >>> percent(Estimate.of([0.5, 0.52])), percent(Estimate.of([0.5]))
        ('51.0 ± 1.4', '50.0')
    """
    return shown(Estimate(100 * estimate.mean, 100 * estimate.std, estimate.count), digits=1)


def shown(estimate: Estimate, digits: int) -> str:
    """Mean ± standard deviation; the mean alone if there is one value, a dash if there is none."""
    if estimate.count == 0:
        return "–"
    spread = "" if math.isnan(estimate.std) else f" ± {estimate.std:.{digits}f}"
    return f"{estimate.mean:z.{digits}f}".replace("-", "−") + spread


def _change(each: PointComparison, estimate: Estimate) -> str:
    """A difference to the baseline in points, with its 95 % interval if there are several seeds."""
    if each.is_baseline:
        return "baseline"
    if math.isnan(estimate.mean):
        return "–"
    interval = "" if estimate.interval is None else f" ({' to '.join(map(signed_points, estimate.interval))})"
    return signed_points(estimate.mean) + interval


def _missing_scores(each: PointComparison, asked: int) -> str:
    """How many scores the gain is the mean of, where some are missing."""
    is_known = not (each.is_baseline or math.isnan(each.gain.mean))
    return f", {each.scores} of {asked} scores" if is_known and each.scores < asked else ""


def _ratio(each: PointComparison, column: str) -> str:
    """The cost over the baseline's, since seconds of this machine mean little elsewhere, and what it is here."""
    mine, theirs = each.runs.estimate(column), each.baseline.estimate(column)
    if not (mine.count and theirs.count and theirs.mean):
        return "–"
    shown_cost = cost_with_unit(mine.mean, column)
    return f"1 ({shown_cost})" if each.is_baseline else f"{mine.mean / theirs.mean:.2f} × ({shown_cost})"
