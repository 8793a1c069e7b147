"""A point against its baseline."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from camtrain.report.points import Estimate, PointRuns, number
from camtrain.report.score_columns import ScoreColumn
from camtrain.study import Row

_ROUNDING = 1e-6  # of accuracies, which are logged in float32: a loss of exactly the margin is allowed


@dataclass(frozen=True)
class PointComparison:
    """A point against its baseline, seed by seed.

    Attributes:
        runs: of the point.
        baseline: of the point.
        gain: by how much its maps are better, a fraction: the mean over the scores of the difference in the better
            direction. NaN where there is no such score.
        scores: number of those that the gain is the mean of: those that both have in every common seed.
        accuracy: by how much its accuracy is higher. NaN where it is not in both.
    """

    runs: PointRuns
    baseline: PointRuns
    gain: Estimate
    scores: int
    accuracy: Estimate

    @property
    def is_baseline(self) -> bool:
        """Whether it is what others are compared with."""
        return self.runs is self.baseline

    @property
    def obstacle(self) -> str:
        """Why it cannot be compared; empty where it can."""
        baseline = f"the baseline {self.baseline.label}"
        if not self.baseline.rows:
            return f"{baseline} has no finished run"
        if not self.runs.rows.keys() & self.baseline.rows.keys():
            return f"no run of the same seed is finished for {baseline}"
        if not self.scores:
            return f"no score in common with {baseline} in every seed"
        return "" if self.accuracy.count else f"no accuracy in common with {baseline}"

    def keeps_accuracy(self, margin: float) -> bool:
        """Whether it loses at most a fraction of accuracy on the mean; not where that is unknown."""
        return self.accuracy.mean >= -margin - _ROUNDING


def point_comparison(
    runs: PointRuns, baseline: PointRuns, scores: Sequence[ScoreColumn], accuracy: str
) -> PointComparison:
    """Compare, seed by seed.

    Seeds with different scores would make a mean of unlike things, so a score that one of them lacks does not count.

    Args:
        runs: of a point.
        baseline: of the same study.
        scores: that the gain is the mean of.
        accuracy: column of the accuracy.
    """
    pairs = [(row, baseline.rows[seed]) for seed, row in runs.rows.items() if seed in baseline.rows]
    of_scores = [(score.direction, _differences(pairs, score.column)) for score in scores]
    shared = [[sign * each for each in found] for sign, found in of_scores if found and len(found) == len(pairs)]
    gains = [statistics.fmean(of_seed) for of_seed in zip(*shared, strict=True)]
    return PointComparison(runs, baseline, Estimate.of(gains), len(shared), Estimate.of(_differences(pairs, accuracy)))


def _differences(pairs: Sequence[tuple[Row, Row]], column: str) -> list[float]:
    """First minus second, of the pairs in which both have a number."""
    found = [(number(mine, column), number(theirs, column)) for mine, theirs in pairs]
    return [mine - theirs for mine, theirs in found if mine is not None and theirs is not None]
