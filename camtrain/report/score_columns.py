"""Which columns of a study's table are scores of maps, what they are called, and which way is better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from camtrain.evaluation import METRICS, EvaluationSettings
from camtrain.methods import TITLES
from camtrain.nearest_names import nearest_names
from camtrain.report.points import PointRuns, number

PREFIX = "evaluated/"
# A method wins against the other methods of its network, which says nothing about another network.
_COMPARES_METHODS = "win"
_OF_MAPS = ("faithfulness", "localization")


@dataclass(frozen=True)
class ScoreColumn:
    """A column with a score of maps.

    Attributes:
        metric: its name among `METRICS`.
        method: whose maps; empty for a score of the network itself.
    """

    metric: str
    method: str

    @property
    def column(self) -> str:
        """Of the table."""
        return f"{PREFIX}{self.metric}" + (f"/{self.method}" if self.method else "")

    @property
    def title(self) -> str:
        """Of the metric."""
        return METRICS[self.metric].title

    @property
    def method_title(self) -> str:
        """Of the method."""
        return TITLES.get(self.method, self.method) or "network"

    @property
    def direction(self) -> int:
        """1 where more is better, otherwise -1."""
        return 1 if METRICS[self.metric].make(EvaluationSettings()).higher_is_better else -1

    @property
    def arrow(self) -> str:
        """To the better side."""
        return "↑" if self.direction > 0 else "↓"


def score_columns(points: Sequence[PointRuns]) -> list[ScoreColumn]:
    """All scores that some run has a number for, metric by metric in their usual order."""
    present = {
        column
        for point in points
        for row in point.rows.values()
        for column in row
        if column.startswith(PREFIX) and number(row, column) is not None
    }
    found = []
    for column in present:
        metric, _, method = column.removeprefix(PREFIX).partition("/")
        if metric in METRICS:
            found.append(ScoreColumn(metric, method))
    order, methods = list(METRICS), ["", *TITLES]
    return sorted(found, key=lambda score: (order.index(score.metric), methods.index(score.method)))


def gaining_scores(points: Sequence[PointRuns], chosen: str | None) -> list[ScoreColumn]:
    """The scores that a gain is the mean of.

    Args:
        points: of the study.
        chosen: a metric, or metric/method; `None` is all of faithfulness and localization but `win`.

    Raises:
        ValueError: if there is no such score.
    """
    scores = score_columns(points)
    if chosen is None:
        return [
            score for score in scores if METRICS[score.metric].group in _OF_MAPS and score.metric != _COMPARES_METHODS
        ]
    found = [score for score in scores if chosen in (score.metric, f"{score.metric}/{score.method}")]
    if not found:
        names = dict.fromkeys([*(score.metric for score in scores), *(f"{s.metric}/{s.method}" for s in scores)])
        raise ValueError(f"`--score`: the study has no {chosen!r}; {nearest_names(chosen, names)}")
    return found
