"""Tables and the figure of named settings, each compared with plain training seed by seed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from camtrain.evaluation import METRICS
from camtrain.messages import signed_points
from camtrain.methods import method_title
from camtrain.report.figure_style import legend_below, line_style, report_style, write_figure
from camtrain.report.pareto_plane import pareto_front
from camtrain.report.point_comparison import PointComparison, point_comparison
from camtrain.report.points import WEIGHT, Estimate, PointRuns, number
from camtrain.report.score_columns import ScoreColumn, gaining_scores, leakage_scores, score_columns
from camtrain.report.tables import percent
from experiments.named_settings import Setting, SettingRows
from experiments.readme_tables import markdown_table
from experiments.result_rows import read_rows

WITHOUT_BOXES = "the same without boxes"
COSTS = Path(__file__).parent / "regularizer_cost" / "results.csv"


@dataclass(frozen=True, eq=False)  # each is the key of its own row
class Compared:
    """A setting at the λ that was chosen for it, against plain training.

    Attributes:
        setting: The setting.
        weight: λ.
        against: The comparison; the setting that comes first is its own baseline.
        accuracy: The column of the accuracy.
    """

    setting: Setting
    weight: float
    against: PointComparison
    accuracy: str

    @property
    def runs(self) -> PointRuns:
        """The runs of the setting."""
        return self.against.runs

    @property
    def label(self) -> str:
        """The setting with its λ."""
        return f"{self.setting}, λ = {self.weight:g}" if self.weight else str(self.setting)


def compared_settings(results: Mapping[Setting, SettingRows], split: str = "test") -> list[Compared]:
    """Compare settings with the first one at λ = 0; settings without results are left out.

    Args:
        results: The results of each setting; the first one is the baseline.
        split: The images whose scores are compared, `test` or `val`.
    """
    found = [
        (setting, weight, PointRuns({WEIGHT: weight}, {}, rows.of(split, weight)))
        for setting, rows in results.items()
        for weight in rows.weights(split)
    ]
    points = [runs for _, _, runs in found]
    if not points or found[0][0] is not next(iter(results)) or found[0][1]:
        return []  # nothing to compare with yet
    accuracy = f"{split}/accuracy"
    scores, leakages = gaining_scores(points, None), leakage_scores(points)
    return [
        Compared(setting, weight, point_comparison(runs, points[0], scores, accuracy, leakages), accuracy)
        for setting, weight, runs in found
    ]


def summary_table(compared: Sequence[Compared], trained: str = "grad_cam") -> str:
    """A table to choose from: what a setting costs in accuracy and time, and what its maps gain.

    The gain is the mean over all scores and methods of the difference to plain training, in percentage points; the gain
    beyond control is the same after the score of another image's map is subtracted on either side. If maps were also
    scored against boxes, there is the latter without these scores, too: a map on the object is not a more faithful one.
    Leakage is the mean over all methods, and that of the method with whose maps the loss is made.

    Args:
        compared: The settings.
        trained: The name of that method.
    """
    headings = ["", "λ", "seeds", "accuracy, %", "change of accuracy", "gain of maps", "gain beyond control"]
    without_boxes = gains_without_boxes(compared)
    headings += [WITHOUT_BOXES] * bool(without_boxes)
    headings += ["change of leakage, all methods", f"change of leakage, {method_title(trained)}", "step / plain step"]
    of_trained = [score for score in leakage_scores([each.runs for each in compared]) if score.method == trained]
    rows = []
    for each in compared:
        accuracy, gain, beyond_control, leakage = (change(each, of) for of in _estimates(each.against))
        rows.append(
            [
                str(each.setting),
                f"{each.weight:g}" if each.weight else "–",
                str(len(each.runs.rows)),
                percent(each.runs.estimate(each.accuracy)),
                *(accuracy, gain, beyond_control),
                *([change(each, without_boxes[each])] if without_boxes else []),
                leakage,
                change(each, leakage_change(each, of_trained)),
                step_cost(each),
            ]
        )
    return markdown_table(headings, rows)


def leakage_change(each: Compared, scores: Sequence[ScoreColumn]) -> Estimate:
    """How some scores of leakage change against plain training, on their mean."""
    return point_comparison(each.runs, each.against.baseline, (), each.accuracy, scores).leakage


def gains_without_boxes(compared: Sequence[Compared]) -> dict[Compared, Estimate]:
    """The gain beyond control without scores against boxes; empty if no maps were scored against any."""
    scores = gaining_scores([each.runs for each in compared], None)
    faithful = _without_boxes(scores)
    if len(faithful) == len(scores):
        return {}
    return {each: Estimate.of(beyond_differences(each, faithful)) for each in compared}


def difference_table(compared: Sequence[Compared], of: Compared) -> str:
    """How the settings differ from one of them, seed by seed, in points; the columns are those of the summary.

    Args:
        compared: The settings; the first, plain training, and `of` itself have no row.
        of: The setting that the others are compared with.
    """
    points = [each.runs for each in compared]
    scores, leakages = gaining_scores(points, None), leakage_scores(points)
    rows = []
    for each in compared[1:]:
        if each is not of:
            against = point_comparison(each.runs, of.runs, scores, each.accuracy, leakages)
            rows.append([each.label, *map(_points, _estimates(against))])
    return markdown_table(["", "accuracy", "gain of maps", "gain beyond control", "leakage"], rows)


def board_tables(compared: Sequence[Compared], kinds: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The tables of a board, by what they show.

    Args:
        compared: The settings.
        kinds: The methods that were scored, by the kind of their maps. First the one with which maps are trained.
    """
    trained = next(iter(kinds.values()))[0]
    return {
        "choice": summary_table(compared, trained),
        **{f"scores of {kind}": score_table(compared, methods) for kind, methods in kinds.items()},
        **{f"{kind} beyond control": beyond_table(compared, methods) for kind, methods in kinds.items()},
    }


def score_table(compared: Sequence[Compared], methods: Sequence[str]) -> str:
    """The scores of some methods' maps in percent, mean ± standard deviation over seeds.

    Args:
        compared: The settings.
        methods: The methods over whose maps each score is averaged.
    """
    columns: dict[str, list[ScoreColumn]] = {}
    for score in score_columns([each.runs for each in compared]):
        if score.method in methods and not score.is_control:
            columns.setdefault(f"{score.title} {score.arrow}", []).append(score)
    rows = [
        [each.label, *(percent(_mean_score(each.runs, scores)) for scores in columns.values())] for each in compared
    ]
    return markdown_table(["", *columns], rows)


def _mean_score(runs: PointRuns, scores: Sequence[ScoreColumn]) -> Estimate:
    """The mean of some scores, over the seeds that have all of them."""
    found = []
    for row in runs.rows.values():
        values = [value for score in scores if (value := number(row, score.column)) is not None]
        if len(values) == len(scores):
            found.append(statistics.fmean(values))
    return Estimate.of(found)


def beyond_table(compared: Sequence[Compared], methods: Sequence[str]) -> str:
    """How much better each score is beyond control than that of plain training; more is better in every column.

    First the mean over the scores, without those against boxes, in points. The other cells are in percent of the plain
    score beyond control, or in points where that score is not certainly above 0.

    Args:
        compared: The settings.
        methods: The methods over whose maps the mean is taken.
    """
    scores = [
        score
        for score in gaining_scores([each.runs for each in compared], None)
        if score.method in methods and beyond(compared[0].runs, score)
    ]
    headings = {score.metric: score.title for score in scores}
    rows = []
    for each in compared[1:]:
        cells = [change_of_beyond(each, [score for score in scores if score.metric == metric]) for metric in headings]
        rows.append([each.label, _change_in_points(each, _without_boxes(scores)), *cells])
    return markdown_table(["", "mean, points", *headings.values()], rows)


def _without_boxes(scores: Sequence[ScoreColumn]) -> list[ScoreColumn]:
    return [score for score in scores if METRICS[score.metric].group == "faithfulness"]


def _change_in_points(each: Compared, scores: Sequence[ScoreColumn]) -> str:
    """The change of the mean of some scores beyond control, with its interval; a dash without a common seed."""
    return _points(Estimate.of(beyond_differences(each, scores)))


def change_of_beyond(each: Compared, scores: Sequence[ScoreColumn]) -> str:
    """The change of the mean of some scores beyond control, with its interval.

    It is in percent of the plain network's mean over all seeds; where that is not certainly above 0, as with one seed,
    a percentage says nothing, and the change is in points.
    """
    differences = beyond_differences(each, scores)
    if not differences:
        return "–"
    relative = relative_change(each, scores)
    if relative is None:
        return f"{bold(Estimate.of(differences), digits=1)} points"
    return f"{bold(relative, digits=0)} %"


def relative_change(each: Compared, scores: Sequence[ScoreColumn]) -> Estimate | None:
    """The same as a fraction of the plain network's mean over all seeds; `None` if that is not certainly above 0."""
    base = Estimate.of(list(_mean_beyond(each.against.baseline, scores).values()))
    if base.interval is None or base.interval[0] <= 0:
        return None
    return Estimate.of([difference / base.mean for difference in beyond_differences(each, scores)])


def beyond(runs: PointRuns, score: ScoreColumn) -> dict[int, float]:
    """A score beyond another image's map for each seed, counted so that more is better."""
    found = {}
    for seed, row in runs.rows.items():
        mine = number(row, score.column)
        of_control = next((value for each in score.controls if (value := number(row, each)) is not None), None)
        if mine is not None and of_control is not None:
            found[seed] = score.direction * (mine - of_control)
    return found


def beyond_differences(each: Compared, scores: Sequence[ScoreColumn]) -> list[float]:
    """The change of the mean of some scores beyond control, for each seed that both have."""
    plain, mine = _mean_beyond(each.against.baseline, scores), _mean_beyond(each.runs, scores)
    return [mine[seed] - plain[seed] for seed in sorted(plain.keys() & mine.keys())]


def _mean_beyond(runs: PointRuns, scores: Sequence[ScoreColumn]) -> dict[int, float]:
    of_scores = [beyond(runs, score) for score in scores]
    return {seed: statistics.fmean(each[seed] for each in of_scores) for seed in _common(of_scores)}


def _common(of_scores: Sequence[Mapping[int, float]]) -> set[int]:
    return set.intersection(*(set(each) for each in of_scores)) if of_scores else set()


def _estimates(against: PointComparison) -> tuple[Estimate, Estimate, Estimate, Estimate]:
    return against.accuracy, against.gain, against.beyond, against.leakage


def change(each: Compared, estimate: Estimate) -> str:
    """A difference to plain training in points, with its interval; bold if the interval excludes 0."""
    return "" if each.against.is_baseline else _points(estimate)


def _points(estimate: Estimate) -> str:
    return bold(estimate, digits=1) if estimate.count else "–"


def bold(estimate: Estimate, digits: int) -> str:
    """A fraction times 100 with its interval, bold if that excludes 0 as it is shown."""
    shown = signed_points(estimate.mean, digits)
    if estimate.interval is None:
        return shown
    low, high = estimate.interval
    shown += f" ({signed_points(low, digits)} to {signed_points(high, digits)})"
    return f"**{shown}**" if is_certain(estimate, digits) else shown


def is_certain(estimate: Estimate, digits: int) -> bool:
    """Whether the interval excludes 0 as it is shown, in points with so many digits."""
    if estimate.interval is None:
        return False
    low, high = estimate.interval
    return round(100 * low, digits) > 0 or round(100 * high, digits) < 0


def step_cost(each: Compared) -> str:
    """The time of a training step over that of a plain step, as experiments/regularizer_cost measured it."""
    regularizer = each.setting.changes.get("model.regularizer")
    name = "plain" if regularizer is None or not each.weight else _cost_name(regularizer)
    if (every := each.setting.changes.get("model.regularizer_every_n_steps", 1)) > 1:
        name += f", every {every}th step"
    costs = {row["regularizer"]: float(row["step_over_plain"]) for row in read_rows(COSTS)}
    return f"{costs[name]:.1f}" if name in costs else "–"


def _cost_name(regularizer: Mapping[str, Any]) -> str:
    """What experiments/regularizer_cost calls a regularizer of a configuration."""
    name, settings = regularizer["class_path"].rpartition(".")[2], regularizer.get("init_args", {})
    if terms := settings.get("terms"):
        return f"{name} of {', '.join(_cost_name(term['regularizer']) for term in terms)}"
    if (method := settings.get("method", "grad_cam")) != "grad_cam":
        name += f", {method}"
    name += ", differentiable" * bool(settings.get("differentiable"))
    return name + ", running statistics" * (settings.get("batch_norm_statistics") == "running")


def write_plane(boards: Mapping[str, Sequence[Compared]], path: Path) -> None:
    """Draw the Pareto plane of each board: change of accuracy and gain beyond control, with their 95 % intervals.

    The scores against boxes do not count.

    Args:
        boards: The compared settings by the title of their board.
        path: The file without a suffix; only the PNG is kept.
    """
    names = list(dict.fromkeys(each.label for compared in boards.values() for each in compared))
    with report_style():
        figure = Figure(figsize=(4.6 * len(boards), 4.6), layout="constrained")
        for axes, (title, compared) in zip(
            figure.subplots(1, len(boards), squeeze=False)[0], boards.items(), strict=True
        ):
            gains = gains_without_boxes(compared) or {each: each.against.beyond for each in compared}
            # Without a seed in common with plain training, or without a control, a setting has no place.
            placed = [each for each in compared if all(map(math.isfinite, _place(each, gains[each])))]
            places = [_place(each, gains[each]) for each in placed]
            front = [places[place] for place in pareto_front(places)]
            axes.plot(*zip(*front, strict=True), color="#888888", linestyle="--", linewidth=1.2, zorder=1)
            for each, (x, y) in zip(placed, places, strict=True):
                style = line_style(names.index(each.label)) | {"linestyle": "none", "markersize": 8}
                spread = [half_interval(estimate) for estimate in (each.against.accuracy, gains[each])]
                # Pale, since the intervals of many settings cross: the marks are what is compared here.
                pale = {"ecolor": (style["color"], 0.35), "elinewidth": 1}
                axes.errorbar(x, y, xerr=spread[0], yerr=spread[1], label=each.label, **pale, **style)
            axes.margins(0.15)
            axes.set(title=title, xlabel="accuracy against plain training, points →")
            axes.set_ylabel("gain of maps beyond control, points →")
            axes.grid(visible=True, axis="both")
        labels = {
            label: handle
            for axes in figure.axes
            for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        legend_below(figure, [*labels.values()], [*labels])
        write_figure(figure, path)[1].unlink()


def _place(each: Compared, gain: Estimate) -> tuple[float, float]:
    if each.against.is_baseline:
        return 0.0, 0.0
    return 100 * each.against.accuracy.mean, 100 * gain.mean


def half_interval(estimate: Estimate) -> float:
    """Half the length of the interval in points; 0 without one."""
    return 0.0 if estimate.interval is None else 100 * (estimate.interval[1] - estimate.mean)
