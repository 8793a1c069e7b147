"""A point of a study against its baseline."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from camtrain.messages import signed_points
from camtrain.report.points import Estimate, PointRuns, number
from camtrain.report.score_columns import ScoreColumn
from camtrain.report.trained_scores import trained_scores
from camtrain.study import Row

_NONE = Estimate.of([])
Verdict = Literal["kept", "lost", "open"]
_ROUNDING = 1e-6  # accuracies are logged in float32, and a loss of exactly the margin is allowed


@dataclass(frozen=True, repr=False)
class PointComparison:
    """A point against its baseline, seed by seed. It prints as one line.

    Attributes:
        runs: The runs of the point.
        baseline: The runs of its baseline.
        gain: How much better the maps of the point are, as a fraction: the mean over the scores of the difference in
            the better direction. NaN if there is no such score.
        scores: The number of scores in that mean: those that both points have for every common seed.
        accuracy: How much higher the accuracy of the point is, as a fraction. NaN if one of the two has none.
        beyond: The gain beyond control: the same mean after the score of a control map (another image's, if it was
            scored) is subtracted on either side. Only scores with a control count; NaN if there are none.
        leakage: How much more the maps of the point leak, as a fraction, on the mean over the methods. NaN if leakage
            was not scored for both.
        trained: The scores that the regularizer of the point trains by construction, of those in the gain.
        of_trained: The gain in them alone; NaN if there are none.
        of_others: The gain in the scores that it does not train; NaN if there are none.
    """

    runs: PointRuns
    baseline: PointRuns
    gain: Estimate
    scores: int
    accuracy: Estimate
    beyond: Estimate = _NONE
    leakage: Estimate = _NONE
    trained: Sequence[ScoreColumn] = ()
    of_trained: Estimate = _NONE
    of_others: Estimate = _NONE

    def __str__(self) -> str:
        if self.is_baseline:
            return f"{self.runs.label}: the baseline"
        if self.obstacle:
            return f"{self.runs.label}: {self.obstacle}"
        return (
            f"{self.runs.label} against {self.baseline.label}: gain of the maps {in_points(self.gain)}, "
            f"accuracy {in_points(self.accuracy)}"
        )

    __repr__ = __str__

    @property
    def is_baseline(self) -> bool:
        """Whether the point is a baseline itself."""
        return self.runs is self.baseline

    @property
    def obstacle(self) -> str:
        """Why the two cannot be compared; empty if they can."""
        baseline = f"the baseline {self.baseline.label}"
        if not self.baseline.rows:
            return f"{baseline} has no finished run"
        if not self.runs.rows.keys() & self.baseline.rows.keys():
            return f"no run of the same seed is finished for {baseline}"
        if not self.scores:
            return f"no score in common with {baseline} in every seed"
        return "" if self.accuracy.count else f"no accuracy in common with {baseline}"

    def keeps_accuracy(self, margin: float) -> bool:
        """Whether the point loses at most this fraction of accuracy on the mean; false if its accuracy is unknown."""
        return self.accuracy.mean >= -margin - _ROUNDING

    def accuracy_verdict(self, margin: float) -> Verdict:
        """What the seeds at hand can tell of the accuracy, by its 95 % interval.

        Args:
            margin: How much may be lost, as a fraction.

        Returns:
            `kept` if the whole interval is within the margin, `lost` if none of it is, else `open`: as with one seed.
        """
        if self.accuracy.interval is None:
            return "open"
        low, high = self.accuracy.interval
        if low >= -margin - _ROUNDING:
            return "kept"
        return "lost" if high < -margin - _ROUNDING else "open"

    def keeps_leakage(self, margin: float) -> bool:
        """Whether the maps leak at most this fraction more on the mean; true if leakage was not scored."""
        return self.leakage.count == 0 or self.leakage.mean <= margin + _ROUNDING


def point_comparison(
    runs: PointRuns,
    baseline: PointRuns,
    scores: Sequence[ScoreColumn],
    accuracy: str,
    leakages: Sequence[ScoreColumn] = (),
) -> PointComparison:
    """Compare a point with its baseline, seed by seed.

    A score that some seed lacks is left out: seeds with different scores would make a mean of unlike things. Leakage is
    what is known of it, since one that is left out would refuse no point.

    Args:
        runs: The runs of the point.
        baseline: The runs of its baseline.
        scores: The scores whose mean is the gain.
        accuracy: Column of the accuracy.
        leakages: The scores of leakage, one for each method.
    """
    pairs = [(row, baseline.rows[seed]) for seed, row in runs.rows.items() if seed in baseline.rows]
    gains = {score: found for score in scores if (found := _gains(pairs, score))}
    config = next(iter(runs.trials.values())).config if runs.trials else {}
    trained = trained_scores(config, list(gains))
    beyond = [found for score in scores if (found := _beyond(pairs, score))]
    return PointComparison(
        runs,
        baseline,
        _mean_of(list(gains.values())),
        len(gains),
        Estimate.of(_differences(pairs, accuracy)),
        _mean_of(beyond),
        _leaked(pairs, leakages),
        trained,
        _mean_of([gains[score] for score in trained]),
        _mean_of([found for score, found in gains.items() if score not in trained]),
    )


def in_points(estimate: Estimate) -> str:
    """A difference of fractions in percentage points, with its interval if there are several seeds.

    Example:
        >>> in_points(Estimate.of([0.01, 0.02, 0.03])), in_points(Estimate.of([0.5]))
        ('+2.00 points (95 % interval −0.48 to +4.48, 3 seeds)', '+50.00 points (1 seed)')
    """
    interval = estimate.interval
    seeds = f"{estimate.count} seed{'s' * (estimate.count != 1)}"
    mean = f"{signed_points(estimate.mean)} points"
    if interval is None:
        return f"{mean} ({seeds})"
    return f"{mean} (95 % interval {signed_points(interval[0])} to {signed_points(interval[1])}, {seeds})"


def _differences(pairs: Sequence[tuple[Row, Row]], column: str) -> list[float]:
    """First minus second for each pair in which both have a number."""
    found = [(number(mine, column), number(theirs, column)) for mine, theirs in pairs]
    return [mine - theirs for mine, theirs in found if mine is not None and theirs is not None]


def _gains(pairs: Sequence[tuple[Row, Row]], score: ScoreColumn) -> list[float]:
    """How much better each pair's score is; empty if a pair lacks it."""
    found = _differences(pairs, score.column)
    return [score.direction * each for each in found] if len(found) == len(pairs) else []


def _beyond(pairs: Sequence[tuple[Row, Row]], score: ScoreColumn) -> list[float]:
    """The gain of each pair beyond the first control that all runs have; empty if there is none."""
    own = _differences(pairs, score.column)
    for column in score.controls:
        of_control = _differences(pairs, column)
        if own and len(own) == len(of_control) == len(pairs):
            return [score.direction * (mine - theirs) for mine, theirs in zip(own, of_control, strict=True)]
    return []


def _leaked(pairs: Sequence[tuple[Row, Row]], leakages: Sequence[ScoreColumn]) -> Estimate:
    """The mean change of leakage, seed by seed, over the methods for which the seed has it."""
    of_seeds = [[each for score in leakages for each in _differences([pair], score.column)] for pair in pairs]
    return Estimate.of([statistics.fmean(found) for found in of_seeds if found])


def _mean_of(of_scores: Sequence[Sequence[float]]) -> Estimate:
    """The mean over scores, seed by seed."""
    return Estimate.of([statistics.fmean(of_seed) for of_seed in zip(*of_scores, strict=True)])
