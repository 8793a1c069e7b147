"""Which point of a study is best, by a stated rule."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from camtrain.report.points import Estimate, PointRuns, baseline_of, number
from camtrain.report.scores import Score, gaining_scores

_ACCURACIES = ("test/accuracy", "val/accuracy")
_ROUNDING = 1e-6  # of accuracies, which are logged in float32: a loss of exactly the margin is allowed


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
class Compared:
    """A point against its baseline, seed by seed.

    Attributes:
        runs: of the point.
        baseline: of the point.
        gain: by how much its maps are better, a fraction: the mean over the scores of the difference in the better
            direction. NaN where no score is in both.
        accuracy: by how much its accuracy is higher.
    """

    runs: PointRuns
    baseline: PointRuns
    gain: Estimate
    accuracy: Estimate

    @property
    def is_baseline(self) -> bool:
        """Whether it is what others are compared with."""
        return self.runs is self.baseline


@dataclass(frozen=True)
class Answer:
    """What a study says.

    Attributes:
        best: by the rule; `None` where no point gains anything within the margin.
        compared: all points.
        scores: that the gain is the mean of.
        accuracy: column of the accuracy.
        sentence: the answer, in words.
        rule: in words.
    """

    best: Compared | None
    compared: list[Compared]
    scores: list[Score]
    accuracy: str
    sentence: str
    rule: str


def answered(points: Sequence[PointRuns], rule: Rule) -> Answer:
    """Apply the rule.

    Differences are paired: of the runs with the same seed, point minus baseline. Their intervals are those of the mean
    over seeds by Student's t. The best of several points was chosen for its gain, so its own estimate is optimistic.

    Args:
        points: with finished runs; at least one.
        rule: that makes a point the best.

    Raises:
        ValueError: if the rule names a score that the study does not have.
    """
    scores = gaining_scores(points, rule.score)
    rows = [row for point in points for row in point.rows.values()]
    accuracy = next((name for name in _ACCURACIES if any(number(row, name) is not None for row in rows)), "")
    compared = [_compared(point, baseline_of(point, points), scores, accuracy) for point in points]
    allowed = [
        each
        for each in compared
        if not each.is_baseline and each.accuracy.mean >= -rule.margin - _ROUNDING and not math.isnan(each.gain.mean)
    ]
    best = max((each for each in allowed if each.gain.mean > 0), key=lambda each: each.gain.mean, default=None)
    return Answer(best, compared, scores, accuracy, _sentence(best, compared, scores, rule), _rule(scores, rule))


def _compared(runs: PointRuns, baseline: PointRuns, scores: Sequence[Score], accuracy: str) -> Compared:
    gains, accuracies = [], []
    for seed in runs.rows.keys() & baseline.rows.keys():
        row, plain = runs.rows[seed], baseline.rows[seed]
        gain = [
            score.direction * (mine - theirs)
            for score in scores
            if (mine := number(row, score.column)) is not None and (theirs := number(plain, score.column)) is not None
        ]
        if gain and len(gain) == len(scores):
            gains.append(sum(gain) / len(gain))
        mine, theirs = number(row, accuracy), number(plain, accuracy)
        if mine is not None and theirs is not None:
            accuracies.append(mine - theirs)
    return Compared(runs, baseline, Estimate.of(gains), Estimate.of(accuracies))


def _rule(scores: Sequence[Score], rule: Rule) -> str:
    what = _what(scores, rule)
    return (
        f"The best point is the one with the largest gain in {what}, on the mean over seeds, among those whose "
        f"accuracy is at most {_points(rule.margin)} below the baseline's. Gains are differences to the baseline in "
        "points of percent, counted so that more is better, seed by seed; intervals are 95 % by Student's t over the "
        "seeds. The best of several was chosen for its gain, so its estimate is on the optimistic side."
    )


def _what(scores: Sequence[Score], rule: Rule) -> str:
    if rule.score is not None:
        return rule.score + (f", the mean over {len(scores)} methods" if len(scores) > 1 else "")
    return f"the mean over {len(scores)} scores of its maps"


def _sentence(best: Compared | None, compared: Sequence[Compared], scores: Sequence[Score], rule: Rule) -> str:
    others = [each for each in compared if not each.is_baseline]
    if not scores:
        return "No maps were scored, so there is no answer about them; the table has the accuracies."
    if not others:
        return "Only the baseline is finished, so there is nothing to compare it with yet."
    if best is None:
        within = [each for each in others if each.accuracy.mean >= -rule.margin - _ROUNDING]
        if not within:
            return f"No point keeps its accuracy within {_points(rule.margin)} of the baseline's."
        nearest = max(within, key=lambda each: each.gain.mean if not math.isnan(each.gain.mean) else -math.inf)
        return (
            f"Nothing is better than {nearest.baseline.label}: within {_points(rule.margin)} of its accuracy the best, "
            f"{nearest.runs.label}, changes {_what(scores, rule)} by {_with_interval(nearest.gain)}."
        )
    interval = best.gain.interval
    is_certain = interval is not None and interval[0] > 0
    told = (
        f"{best.runs.label} {'is best' if is_certain else 'leads, but may do so by chance'}: {_what(scores, rule)} "
        f"gains {_with_interval(best.gain)} against {best.baseline.label}, and accuracy changes by "
        f"{_with_interval(best.accuracy)}."
    )
    if is_certain:
        return told
    return f"{told} " + (
        "With one seed there is no interval." if interval is None else "The gain's interval includes 0."
    )


def _with_interval(estimate: Estimate) -> str:
    interval = estimate.interval
    seeds = f"{estimate.count} seed{'s' * (estimate.count != 1)}"
    shown = f"{100 * estimate.mean:+.2f} points"
    if interval is None:
        return f"{shown} ({seeds})"
    return f"{shown} (95 % interval {100 * interval[0]:+.2f} to {100 * interval[1]:+.2f}, {seeds})"


def _points(fraction: float) -> str:
    return f"{100 * fraction:g} point{'s' * (fraction != 0.01)}"
