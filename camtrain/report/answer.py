"""Which point of a study is best, by a stated rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from markupsafe import escape

from camtrain.messages import checked_number, folded
from camtrain.report.accuracies import ACCURACIES, accuracy_name
from camtrain.report.point_comparison import PointComparison, point_comparison
from camtrain.report.points import PointRuns, baseline_of, number, points_of
from camtrain.report.score_columns import ScoreColumn, gaining_scores, leakage_scores, score_columns
from camtrain.report.sentences import Margins, answer_sentence, rule_sentence
from camtrain.report.table import Table
from camtrain.report.tables import choice_table, points_table
from camtrain.study import EVALUATED, VALIDATED, Study


@dataclass(frozen=True)
class Rule:
    """The best point has the largest gain among those that neither lose too much accuracy nor leak too much.

    Attributes:
        margin: How much of its accuracy a point may lose on the mean over seeds, as a fraction: 0.01 is one percentage
            point.
        score: The score whose gain counts: a metric, or metric/method. `None` is the mean over the scores
            of faithfulness and localization but `win` and leakage.
        leakage_margin: How much more the maps of a point may leak than the baseline's on the mean over seeds, as a
            fraction. A point that leaks more is refused: its network reads the class from the shape of its maps, and
            their other scores say nothing. A study that did not score `map_leakage` refuses no point.

    Raises:
        ValueError: If a margin is not in [0, 1).
    """

    margin: float = 0.01
    score: str | None = None
    leakage_margin: float = 0.03

    def __post_init__(self) -> None:
        for name, value in (("margin", self.margin), ("leakage_margin", self.leakage_margin)):
            checked_number(name, value, "a fraction in [0, 1) such as 0.01", at_least=0, below=1)


@dataclass(frozen=True, repr=False)
class Answer:
    """The answer of a study. It prints as a sentence and a table of the points.

    Attributes:
        best: The best point by the rule; `None` if no point within the margins gains anything, or if the one that
            validation images chose does not gain on test images.
        compared: All points with a finished run, each against its baseline.
        scores: The scores whose mean is the gain.
        accuracy: Column of the accuracy, such as `test/accuracy`, or of the mean average precision, if images may show
            several classes; empty if no run has one.
        accuracy_title: What the accuracy is called; beside scores of test images it is said if it is of validation
            images, as in a study that trains without a test.
        sentence: The answer in words.
        rule: The rule in words.
        on_validation: Whether the point was chosen by validation images, and `compared` is of test images.
        choice: The points on the validation images that chose the best one; `None` if `compared` is what chose it.
    """

    best: PointComparison | None
    compared: list[PointComparison]
    scores: list[ScoreColumn]
    accuracy: str
    accuracy_title: str
    sentence: str
    rule: str
    on_validation: bool = False
    choice: Table | None = None

    @cached_property
    def table(self) -> Table:
        """All points with their accuracy, losses, gain of the maps and cost."""
        return points_table(self.compared, self.scores, self.accuracy, self.accuracy_title, self.best)

    def __str__(self) -> str:
        return f"{folded(self.sentence)}\n\n{self.table}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<p><strong>{escape(self.sentence)}</strong></p>\n{self.table._repr_html_()}"


def answer_of(study: Study, rule: Rule | None = None) -> Answer:
    """The answer of a study.

    Args:
        study: The study, with at least one finished run.
        rule: What makes a point the best; `None` is `Rule()`.

    Raises:
        ValueError: If no run is finished, or the study does not have the score that the rule names.
    """
    points = points_of(study)
    if not any(point.rows for point in points):
        raise ValueError(f"no run of {study.folder} is finished")
    return answered(points, Rule() if rule is None else rule, study.plan.split)


def answered(points: Sequence[PointRuns], rule: Rule, split: str = "test") -> Answer:
    """Apply a rule to the points of a study.

    Differences are paired: each run is compared with the baseline's run of the same seed. Their intervals are those of
    the mean over seeds by Student's t. The best of several points was chosen for its gain, so its own estimate is
    optimistic.

    Args:
        points: All points of the grid, in its order. At least one has a finished run; those without one are left out.
        rule: What makes a point the best.
        split: The split whose accuracy counts, `val` or `test`. `val` also counts where nothing was tested.

    Raises:
        ValueError: If the study does not have the score that the rule names, or `split` is another word.
    """
    if split not in ACCURACIES:
        raise ValueError(f"`split`: expected {' or '.join(ACCURACIES)}, got {split!r}")
    accuracy = _accuracy(points, ACCURACIES[split])
    scores = gaining_scores(points, rule.score)
    compared = _compared(points, scores, accuracy, EVALUATED)
    # The images that choose must not be those that judge.
    selected, chosen_by = _selection(points, rule, compared) if split == "test" else (None, [])
    choosing = compared if selected is None else selected
    within = [each for each in choosing if not each.is_baseline and each.keeps_accuracy(rule.margin)]
    others = [each for each in within if each.keeps_leakage(rule.leakage_margin)]
    chosen = max((each for each in others if each.gain.mean > 0), key=lambda each: each.gain.mean, default=None)
    best = next((each for each in compared if chosen is not None and each.runs is chosen.runs), None)
    leaks = any(each.leakage.count for each in choosing)
    leakage_margin = rule.leakage_margin if leaks else None
    title = accuracy_name(accuracy, split)
    margins = Margins(rule.margin, leakage_margin, selected is not None, title)
    accuracy_of_choice = _accuracy(points, ACCURACIES["val"])
    return Answer(
        best if best is not None and best.gain.mean > 0 else None,
        compared,
        scores,
        accuracy,
        title,
        answer_sentence(best, compared, scores, margins, rule.score, choosing, has_others=bool(score_columns(points))),
        rule_sentence(scores, margins, rule.score, chosen_by or scores) if scores else "",
        selected is not None,
        None if selected is None else choice_table(selected, accuracy_of_choice, chosen),
    )


def _accuracy(points: Sequence[PointRuns], names: Sequence[str]) -> str:
    """An accuracy that all runs have, so that all can be compared; runs from before may have more."""
    rows = [row for point in points for row in point.rows.values()]
    known = {name: [number(row, name) is not None for row in rows] for name in names}
    return next((name for has in (all, any) for name, of_rows in known.items() if rows and has(of_rows)), "")


def _compared(
    points: Sequence[PointRuns], scores: Sequence[ScoreColumn], accuracy: str, prefix: str
) -> list[PointComparison]:
    leakages = leakage_scores(points, prefix)
    return [
        point_comparison(point, baseline_of(point, points), scores, accuracy, leakages)
        for point in points
        if point.rows
    ]


def _selection(
    points: Sequence[PointRuns], rule: Rule, reported: Sequence[PointComparison]
) -> tuple[list[PointComparison] | None, list[ScoreColumn]]:
    """The comparisons on validation images, and by which scores.

    The comparisons are `None` if a point that can be reported lacks its scores on these images.
    """
    try:
        scores = gaining_scores(points, rule.score, VALIDATED)
    except ValueError:
        return None, []
    accuracy = _accuracy(points, ACCURACIES["val"])
    found = _compared(points, scores, accuracy, VALIDATED)
    is_whole = all(not mine.obstacle or theirs.obstacle for mine, theirs in zip(found, reported, strict=True))
    return (found, scores) if scores and is_whole else (None, [])
