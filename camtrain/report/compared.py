"""A point against its baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from camtrain.report.points import Estimate, PointRuns, number
from camtrain.report.scores import Score

_ROUNDING = 1e-6  # of accuracies, which are logged in float32: a loss of exactly the margin is allowed


@dataclass(frozen=True)
class Compared:
    """A point against its baseline, seed by seed.

    Attributes:
        runs: of the point.
        baseline: of the point.
        gain: by how much its maps are better, a fraction: the mean over the scores of the difference in the better
            direction. NaN where no score is in both.
        accuracy: by how much its accuracy is higher. NaN where it is not in both.
    """

    runs: PointRuns
    baseline: PointRuns
    gain: Estimate
    accuracy: Estimate

    @property
    def is_baseline(self) -> bool:
        """Whether it is what others are compared with."""
        return self.runs is self.baseline

    @property
    def obstacle(self) -> str:
        """Why it cannot be compared; empty where it can."""
        return "" if self.baseline.rows else f"the baseline {self.baseline.label} has no finished run"

    def keeps_accuracy(self, margin: float) -> bool:
        """Whether it loses at most a fraction of accuracy on the mean; not where that is unknown."""
        return self.accuracy.mean >= -margin - _ROUNDING


def compared_of(runs: PointRuns, baseline: PointRuns, scores: Sequence[Score], accuracy: str) -> Compared:
    """Compare, seed by seed.

    Args:
        runs: of a point.
        baseline: of the same study.
        scores: that the gain is the mean of.
        accuracy: column of the accuracy.
    """
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
