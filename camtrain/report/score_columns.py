"""The columns of a study's table that hold scores of maps: their titles, and which direction is better."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from camtrain.evaluation import METRICS
from camtrain.messages import nearest_names
from camtrain.methods import CONTROLS, FURTHER_METHODS, SHUFFLED, TITLES, control_of, is_control, method_title
from camtrain.report.points import PointRuns, number
from camtrain.study import EVALUATED

LEAKAGE = "map_leakage"
"""The metric for which the rule refuses points."""
# `win` compares the methods of one network with each other, and says nothing about another network. Leakage is a limit
# and no gain: a point is refused for too much of it, and does not earn anything by having little.
_NO_GAIN = ("win", LEAKAGE)
_OF_MAPS = ("faithfulness", "localization")
_UNIFORM = "uniform"


@dataclass(frozen=True)
class ScoreColumn:
    """A column of the study's table that holds a score of maps.

    Attributes:
        metric: The name of the metric in `METRICS`.
        method: The name of the method that made the maps; empty for a score of the network itself.
        prefix: Of the column.
    """

    metric: str
    method: str
    prefix: str = EVALUATED

    @property
    def column(self) -> str:
        """The name of the column."""
        return f"{self.prefix}{self.metric}" + (f"/{self.method}" if self.method else "")

    @property
    def title(self) -> str:
        """The title of the metric."""
        return METRICS[self.metric].title

    @property
    def method_title(self) -> str:
        """The title of the method, or "network"."""
        return method_title(self.method) or "network"

    @property
    def is_control(self) -> bool:
        """Whether the map that was scored is a control."""
        return is_control(self.method)

    @property
    def controls(self) -> list[str]:
        """The columns of the controls of this score, another image's map first.

        A uniform map comes last, and only where maps are compared with objects. It hides nothing from drop, increase
        and gain, so that beyond it a network which is merely robust to hidden pixels would seem to gain; for other
        scores its order of pixels is arbitrary.
        """
        if self.is_control or not self.method:
            return []
        others = [control for control in CONTROLS if control != _UNIFORM]
        last = [_UNIFORM] if METRICS[self.metric].group == "localization" else []
        names = (control_of(control, self.method) for control in (SHUFFLED, *others, *last))
        return [ScoreColumn(self.metric, name, self.prefix).column for name in names]

    @property
    def direction(self) -> int:
        """1 if higher is better, -1 if lower is better."""
        return 1 if METRICS[self.metric].higher_is_better else -1

    @property
    def arrow(self) -> str:
        """An arrow in the better direction."""
        return "↑" if self.direction > 0 else "↓"


def score_columns(points: Sequence[PointRuns], prefix: str = EVALUATED) -> list[ScoreColumn]:
    """The columns in which some run has a number, metric by metric in the order of `METRICS`.

    Args:
        points: The points of the study.
        prefix: Of the columns.
    """
    present = {
        column
        for point in points
        for row in point.rows.values()
        for column in row
        if column.startswith(prefix) and number(row, column) is not None
    }
    found = []
    for column in present:
        metric, _, method = column.removeprefix(prefix).partition("/")
        if metric in METRICS:  # of a version that has others, these are left out
            found.append(ScoreColumn(metric, method, prefix))
    order, methods = list(METRICS), _in_order({score.method for score in found})
    return sorted(found, key=lambda score: (order.index(score.metric), methods.index(score.method)))


def _in_order(methods: Iterable[str]) -> list[str]:
    """The network, the methods, those that were registered where the study ran, and controls."""
    known = ["", *TITLES, *FURTHER_METHODS]
    others = sorted(method for method in methods if method not in known and not is_control(method))
    known += others
    return [*known, *CONTROLS, *(control_of(SHUFFLED, method) for method in known if method)]


def gaining_scores(points: Sequence[PointRuns], chosen: str | None, prefix: str = EVALUATED) -> list[ScoreColumn]:
    """The scores whose mean is the gain.

    Args:
        points: The points of the study.
        chosen: A metric, or metric/method. `None` is every metric of faithfulness and localization except `win`,
            leakage, and those that show another one in other units. Scores of controls are left out.
        prefix: Of the columns.

    Raises:
        ValueError: If the study does not have the chosen score.
    """
    scores = score_columns(points, prefix)
    if chosen is None:
        return [score for score in scores if _counts(score)]
    found = [
        score
        for score in scores
        if chosen == f"{score.metric}/{score.method}" or (chosen == score.metric and not score.is_control)
    ]
    if not found:
        names = dict.fromkeys([*(score.metric for score in scores), *(f"{s.metric}/{s.method}" for s in scores)])
        raise ValueError(f"`score`: the study has no {chosen!r}; {nearest_names(chosen, names)}")
    return found


def leakage_scores(points: Sequence[PointRuns], prefix: str = EVALUATED) -> list[ScoreColumn]:
    """The scores of leakage, one for each method; none if the study did not score it."""
    return [score for score in score_columns(points, prefix) if score.metric == LEAKAGE and not score.is_control]


def _counts(score: ScoreColumn) -> bool:
    """Whether a score is part of the gain if the rule names none."""
    spec = METRICS[score.metric]
    return spec.group in _OF_MAPS and not spec.restates and score.metric not in _NO_GAIN and not score.is_control
