"""The columns of a study's table that hold scores of maps: their titles, and which direction is better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from camtrain.evaluation import METRICS, EvaluationSettings
from camtrain.messages import nearest_names
from camtrain.methods import TITLES
from camtrain.report.points import PointRuns, number

PREFIX = "evaluated/"
# `win` compares the methods of one network with each other, and says nothing about another network.
_COMPARES_METHODS = "win"
_OF_MAPS = ("faithfulness", "localization")


@dataclass(frozen=True)
class ScoreColumn:
    """A column of the study's table that holds a score of maps.

    Attributes:
        metric: The name of the metric in `METRICS`.
        method: The name of the method that made the maps; empty for a score of the network itself.
    """

    metric: str
    method: str

    @property
    def column(self) -> str:
        """The name of the column."""
        return f"{PREFIX}{self.metric}" + (f"/{self.method}" if self.method else "")

    @property
    def title(self) -> str:
        """The title of the metric."""
        return METRICS[self.metric].title

    @property
    def method_title(self) -> str:
        """The title of the method, or "network"."""
        return TITLES.get(self.method, self.method) or "network"

    @property
    def direction(self) -> int:
        """1 if higher is better, -1 if lower is better."""
        return 1 if METRICS[self.metric].make(EvaluationSettings()).higher_is_better else -1

    @property
    def arrow(self) -> str:
        """An arrow in the better direction."""
        return "↑" if self.direction > 0 else "↓"


def score_columns(points: Sequence[PointRuns]) -> list[ScoreColumn]:
    """The columns in which some run has a number, metric by metric in the order of `METRICS`."""
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
    """The scores whose mean is the gain.

    Args:
        points: The points of the study.
        chosen: A metric, or metric/method. `None` is every metric of faithfulness and localization except `win`.

    Raises:
        ValueError: if the study does not have the chosen score.
    """
    scores = score_columns(points)
    if chosen is None:
        return [
            score for score in scores if METRICS[score.metric].group in _OF_MAPS and score.metric != _COMPARES_METHODS
        ]
    found = [score for score in scores if chosen in (score.metric, f"{score.metric}/{score.method}")]
    if not found:
        names = dict.fromkeys([*(score.metric for score in scores), *(f"{s.metric}/{s.method}" for s in scores)])
        raise ValueError(f"`score`: the study has no {chosen!r}; {nearest_names(chosen, names)}")
    return found
