"""The points of a study's grid, each with its finished runs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from scipy import stats  # type: ignore[import-untyped, unused-ignore]

from camtrain.messages import printable
from camtrain.report.value_names import value_key, value_names
from camtrain.study import Row, Study, Trial
from camtrain.study.merged_grids import in_grid_order
from camtrain.study.trial import shown

WEIGHT = "model.regularizer_weight"
"""The configuration key of λ; a point with λ = 0 is a baseline."""

_LARGEST_NUMBER = 10**300


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds.

    Attributes:
        mean: The mean of the values.
        std: The sample standard deviation; NaN if there is only one value.
        count: The number of values.
    """

    mean: float
    std: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Estimate:
        """The estimate from values without NaN.

        Example:
            >>> Estimate.of([1.0, 3.0])
            Estimate(mean=2.0, std=1.41..., count=2)
        """
        if not values:
            return cls(math.nan, math.nan, 0)
        std = statistics.stdev(values) if len(values) > 1 else math.nan
        return cls(statistics.fmean(values), std, len(values))

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the mean, by Student's t; `None` if there is only one value.

        Example:
            >>> Estimate.of([1.0, 2.0, 3.0]).interval
            (-0.48..., 4.48...)
        """
        if self.count < 2:
            return None
        half = _half_width(self.std, self.count)
        return self.mean - half, self.mean + half

    def seeds_to_tell_from(self, bound: float) -> int | None:
        """The number of seeds with which the 95 % interval would leave out a bound.

        An estimate of power: mean and standard deviation are taken to stay what they are.

        Args:
            bound: The number to tell the mean from.

        Returns:
            The smallest such number; `None` if there is no standard deviation, or more than 1000 would be needed.

        Example:
            >>> Estimate.of([1.0, 2.0, 3.0]).seeds_to_tell_from(0.0)
            4
        """
        if self.count < 2:
            return None
        distance = abs(self.mean - bound)
        return next((n for n in range(2, _MOST_SEEDS + 1) if _half_width(self.std, n) < distance), None)


_MOST_SEEDS = 1000


def _half_width(std: float, count: int) -> float:
    return float(stats.t.ppf(0.975, count - 1)) * std / math.sqrt(count)


@dataclass(frozen=True, repr=False)
class PointRuns:
    """The finished runs of one point. It prints as its label and its seeds.

    Attributes:
        point: The values of the point, by configuration key.
        trials: The finished trials, by seed.
        rows: Their rows of the study's table, by seed; empty if no run is finished.
        names: What the values are called, by configuration key, so that no two values of the grid look alike. A value
            without a name is printed by `shown`.
        is_planned: Whether the study plans it now; false of a point of an earlier grid alone.
    """

    point: Mapping[str, Any]
    trials: Mapping[int, Trial]
    rows: Mapping[int, Row]
    names: Mapping[str, str] = field(default_factory=dict)
    is_planned: bool = True

    def __str__(self) -> str:
        seeds = ", ".join(map(str, self.rows))
        return f"{self.label} (seeds {seeds})" if seeds else f"{self.label} (no finished run)"

    __repr__ = __str__

    @property
    def label(self) -> str:
        """The point as people read it: `λ = 0.1, distance = mae`."""
        return self.label_of(self.point)

    def label_of(self, keys: Iterable[str]) -> str:
        """The label of some of the values."""
        return ", ".join(f"{short(key)} = {self.name_of(key)}" for key in keys)

    def name_of(self, key: str) -> str:
        """What the value of a key is called."""
        return self.names[key] if key in self.names else shown(self.point[key])

    def estimate(self, column: str) -> Estimate:
        """Mean and standard deviation of a column over the seeds that have it."""
        return Estimate.of([value for row in self.rows.values() if (value := number(row, column)) is not None])


def points_of(study: Study) -> list[PointRuns]:
    """All points of the study and of its earlier plans, in the order of one grid.

    A point without a finished run is included, since it may be a baseline.
    """
    grouped: dict[str, list[Trial]] = {}
    for trial in in_grid_order(study.trials, study.earlier):
        grouped.setdefault(value_key(dict(trial.point)), []).append(trial)
    points = [trials[0].point for trials in grouped.values()]
    keys = dict.fromkeys(key for point in points for key in point)
    names = {key: value_names(point[key] for point in points if key in point) for key in keys}
    planned = {trial.hash for trial in study.trials}
    return [
        replace(_finished(study, trials, names), is_planned=any(trial.hash in planned for trial in trials))
        for trials in grouped.values()
    ]


def _finished(study: Study, trials: Sequence[Trial], names: Mapping[str, Mapping[str, str]]) -> PointRuns:
    point = trials[0].point
    pairs = [(trial, row) for trial in trials if (row := study.row(trial)) is not None]
    return PointRuns(
        point,
        {trial.seed: trial for trial, _ in pairs},
        {trial.seed: row for trial, row in pairs},
        {key: names[key][value_key(value)] for key, value in point.items()},
    )


def baseline_of(point: PointRuns, points: Sequence[PointRuns]) -> PointRuns:
    """The baseline of a point: the same point at λ = 0 if there is one, otherwise the first point of the present grid.

    Args:
        point: A point of the grid.
        points: All points of the grid, finished or not. If an unfinished baseline were left out, another point would
            take its place, and gains would look right and be wrong.
    """
    plain = {**point.point, WEIGHT: 0}
    if WEIGHT in point.point:
        for other in points:
            if dict(other.point) == plain:
                return other
    return next((each for each in points if each.is_planned), points[0])


def number(row: Row, column: str) -> float | None:
    """A value of a row if it is a finite number, otherwise `None`."""
    value = row.get(column)
    if isinstance(value, int) and abs(value) > _LARGEST_NUMBER:  # JSON has integers that no float can hold
        return None
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def short(key: str) -> str:
    """A configuration key as people write it.

    Example:
        >>> short("model.regularizer_weight"), short("model.regularizer.distance")
        ('λ', 'distance')
    """
    return "λ" if key == WEIGHT else printable(key.rpartition(".")[2])
