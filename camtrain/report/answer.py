"""Which point of a study is best, by a stated rule."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from camtrain.report.point_comparison import PointComparison, point_comparison
from camtrain.report.points import PointRuns, baseline_of, number
from camtrain.report.score_columns import ScoreColumn, gaining_scores
from camtrain.report.sentences import answer_sentence, rule_sentence

# By the split that was asked for. A study may train without a test; test images are not looked at unasked.
_ACCURACIES = {"test": ("test/accuracy", "val/accuracy"), "val": ("val/accuracy",)}


@dataclass(frozen=True)
class Rule:
    """The best point has the largest gain among those that do not lose too much accuracy.

    Attributes:
        margin: accuracy that may be lost on the mean, as a fraction.
        score: what the gain is of: a metric, or metric/method; `None` is the mean over all scores of faithfulness and
            localization.

    Raises:
        ValueError: if the margin is negative or not finite.
    """

    margin: float = 0.01
    score: str | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.margin) and self.margin >= 0):
            raise ValueError(f"`--margin`: expected a number of at least 0, got {100 * self.margin:g}")


@dataclass(frozen=True)
class Answer:
    """What a study says.

    Attributes:
        best: by the rule; `None` where no point gains anything within the margin.
        compared: all points with a finished run.
        scores: that the gain is the mean of.
        accuracy: column of the accuracy.
        sentence: the answer, in words.
        rule: in words.
    """

    best: PointComparison | None
    compared: list[PointComparison]
    scores: list[ScoreColumn]
    accuracy: str
    sentence: str
    rule: str


def answered(points: Sequence[PointRuns], rule: Rule, split: str = "test") -> Answer:
    """Apply the rule.

    Differences are paired: of the runs with the same seed, point minus baseline. Their intervals are those of the mean
    over seeds by Student's t. The best of several points was chosen for its gain, so its own estimate is optimistic.

    Args:
        points: all of the grid, in its order; those without rows are not finished, and at least one is.
        rule: that makes a point the best.
        split: whose accuracy counts, `val` or `test`; that of `val` also where nothing was tested.

    Raises:
        ValueError: if the rule names a score that the study does not have, or the split is another word.
    """
    if split not in _ACCURACIES:
        raise ValueError(f"`split`: expected {' or '.join(_ACCURACIES)}, got {split!r}")
    scores = gaining_scores(points, rule.score)
    rows = [row for point in points for row in point.rows.values()]
    known = {name: [number(row, name) is not None for row in rows] for name in _ACCURACIES[split]}
    # One that all runs have, so that all can be compared; runs of before may have more.
    accuracy = next((name for has in (all, any) for name, of_rows in known.items() if rows and has(of_rows)), "")
    compared = [point_comparison(point, baseline_of(point, points), scores, accuracy) for point in points if point.rows]
    others = [each for each in compared if not each.is_baseline and each.keeps_accuracy(rule.margin)]
    best = max((each for each in others if each.gain.mean > 0), key=lambda each: each.gain.mean, default=None)
    sentence = answer_sentence(best, compared, scores, rule.margin, rule.score)
    return Answer(best, compared, scores, accuracy, sentence, rule_sentence(scores, rule.margin, rule.score))
