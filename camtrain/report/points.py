"""The runs of a study by the point of the grid that they are of."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from scipy import stats  # type: ignore[import-untyped, unused-ignore]

from camtrain.report.value_names import value_key, value_names
from camtrain.study import Row, Study, Trial
from camtrain.study.trial import shown

WEIGHT = "model.regularizer_weight"
"""λ, whose value 0 is the baseline."""


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds.

    Attributes:
        mean: of the values.
        std: sample standard deviation; NaN of one value.
        count: number of values.
    """

    mean: float
    std: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Estimate:
        """Of values without NaN.

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
        """The 95 % interval of the mean, by Student's t; `None` of one value.

        Example:
            >>> Estimate.of([1.0, 2.0, 3.0]).interval
            (-0.48..., 4.48...)
        """
        if self.count < 2:
            return None
        half = float(stats.t.ppf(0.975, self.count - 1)) * self.std / math.sqrt(self.count)
        return self.mean - half, self.mean + half


@dataclass(frozen=True)
class PointRuns:
    """The finished runs of one point.

    Attributes:
        point: values by configuration key.
        trials: by seed.
        rows: of the table, by seed; none where no run is finished.
        names: of the values, by configuration key, such that no two values of the grid look alike; those that are not
            there are `shown`.
    """

    point: Mapping[str, Any]
    trials: Mapping[int, Trial]
    rows: Mapping[int, Row]
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """As people read it: `λ = 0.1, distance = mae`."""
        return self.label_of(self.point)

    def label_of(self, keys: Iterable[str]) -> str:
        """Of some of its values."""
        return ", ".join(f"{short(key)} = {self.name_of(key)}" for key in keys)

    def name_of(self, key: str) -> str:
        """Of one value."""
        return self.names[key] if key in self.names else shown(self.point[key])

    def estimate(self, column: str) -> Estimate:
        """Of a column, over the seeds that have it."""
        return Estimate.of([value for row in self.rows.values() if (value := number(row, column)) is not None])


def points_of(study: Study) -> list[PointRuns]:
    """All points of the grid, in its order; also those without a finished run, which may be a baseline."""
    grouped: dict[str, list[Trial]] = {}
    for trial in study.trials:
        grouped.setdefault(value_key(dict(trial.point)), []).append(trial)
    points = [trials[0].point for trials in grouped.values()]
    keys = dict.fromkeys(key for point in points for key in point)
    names = {key: value_names(point[key] for point in points if key in point) for key in keys}
    return [_finished(study, trials, names) for trials in grouped.values()]


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
    """What a point is compared with: the same one at λ = 0 where the grid has it, otherwise the grid's first point.

    Args:
        point: one of the grid.
        points: all of the grid, finished or not: another baseline in the place of one that is missing would make
            gains that look right and are not.
    """
    plain = {**point.point, WEIGHT: 0}
    if WEIGHT in point.point:
        for other in points:
            if dict(other.point) == plain:
                return other
    return points[0]


def number(row: Row, column: str) -> float | None:
    """A value of a row, if it is a finite number."""
    value = row.get(column)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def short(key: str) -> str:
    """A configuration key, as people write it.

    Example:
        >>> short("model.regularizer_weight"), short("model.regularizer.distance")
        ('λ', 'distance')
    """
    return "λ" if key == WEIGHT else key.rpartition(".")[2]
