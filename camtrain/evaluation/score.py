"""A score with its interval, and tables of scores."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from tabulate import tabulate  # type: ignore[import-untyped, unused-ignore]

from camtrain.evaluation.bootstrap import ConfidenceInterval
from camtrain.evaluation.evaluator import NETWORK
from camtrain.evaluation.metric_specs import METRICS
from camtrain.files import data_frame, write_whole
from camtrain.messages import column_width, folded, nearest_names, signed_points, terminal_width
from camtrain.methods import is_control, method_title

_NOTEBOOK = 120  # width of a table in a notebook, in characters
_GROUPS = ("faithfulness", "localization", "sanity", "gradient")


@dataclass(frozen=True)
class Score:
    """The value of a metric for the maps of a method, or a difference of two such values.

    Attributes:
        method: The name of the method, or `NETWORK` for a metric of the network itself.
        metric: The name of the metric.
        interval: The value with its 95 % interval; NaN where no image was counted.
        num_images: The number of images that were counted.
        higher_is_better: Which way is better.
    """

    method: str
    metric: str
    interval: ConfidenceInterval
    num_images: int
    higher_is_better: bool

    @property
    def value(self) -> float:
        """The value itself, a fraction."""
        return self.interval.value

    def shown(self, *, signed: bool = False) -> str:
        """The value and its interval in percent.

        Args:
            signed: True for a difference, which is shown with its sign and with what that means: better or worse, if
                the interval leaves out 0. A difference of control maps is neither.

        Example:
            >>> Score("grad_cam", "average_drop", ConfidenceInterval(0.25, 0.2, 0.3), 9, False).shown(signed=True)
            '+25.0 [+20.0, +30.0] worse'
        """
        found = shown_interval(self.interval, signed=signed)
        if not signed or is_control(self.method):
            return found
        return f"{found} {verdict(self.interval, higher_is_better=self.higher_is_better)}".strip()


def shown_interval(interval: ConfidenceInterval, *, signed: bool = False) -> str:
    """A value and its interval in percent, without the interval if there is none; a dash without a value."""
    if math.isnan(interval.value):
        return "–"
    value, low, high = (
        signed_points(number, 1) if signed else f"{100 * number:z.1f}".replace("-", "−") for number in interval
    )
    return value if math.isnan(interval.low) else f"{value} [{low}, {high}]"


def verdict(interval: ConfidenceInterval, *, higher_is_better: bool) -> str:
    """Whether a difference is better or worse; empty if its interval has 0 in it.

    Example:
        >>> verdict(ConfidenceInterval(0.2, 0.1, 0.3), higher_is_better=True)
        'better'
    """
    if interval.low > 0 or interval.high < 0:
        return "better" if (interval.low > 0) == higher_is_better else "worse"
    return ""


@dataclass(frozen=True, repr=False)
class ScoreTable(Sequence[Score]):
    """Scores of methods by metrics, or differences of such scores.

    It prints as tables in a terminal and in a notebook, is a sequence of `Score`, and becomes a pandas data frame.

    A difference is always the first score minus the second, whichever way is better. Its sign is never turned round:
    `Score.higher_is_better`, the arrow in the table and the column `better` of the file say which sign is the better
    one. A drop ↓ of -5 points is an improvement, and an average gain ↑ of -5 points is a loss. The table says "better"
    or "worse" where the interval leaves out 0.

    Attributes:
        title: What was scored.
        scores: All scores, method by method.
        signed: True for differences, which are shown with their sign.

    Example:
        >>> scores = [Score("grad_cam", "average_drop", ConfidenceInterval(0.25, 0.2, 0.3), 9, False)]
        >>> print(ScoreTable("ResNet", scores).table())
        faithfulness, %    drop ↓
        -----------------  -----------------
        Grad-CAM           25.0 [20.0, 30.0]
    """

    title: str
    scores: Sequence[Score]
    signed: bool = False

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: Any) -> Any:
        return self.scores[index]

    def __iter__(self) -> Iterator[Score]:
        return iter(self.scores)

    def score(self, method: str, metric: str | None = None) -> Score:
        """One of the scores.

        Args:
            method: The name of a method; for a metric of the network itself, the name of that metric is enough.
            metric: The name of a metric.

        Raises:
            KeyError: If there is no such score, with the nearest names.
        """
        wanted = (NETWORK, method) if metric is None else (method, metric)
        for each in self.scores:
            if (each.method, each.metric) == wanted:
                return each
        names = [f"{each.method}, {each.metric}" for each in self.scores]
        raise KeyError(f"no score {', '.join(wanted)}; {nearest_names(', '.join(wanted), names)}")

    def table(self, width: int | None = None) -> str:
        """Tables for a terminal: methods by metrics, in percent, with arrows to the better side and 95 % intervals.

        A metric that counted no image is left out.

        Args:
            width: The largest number of characters in a line; metrics that do not fit get a table of their own. `None`
                is the width of the terminal.
        """
        return "\n\n".join(self._tabulated("simple", terminal_width() if width is None else width))

    def _repr_html_(self) -> str:
        return f"<p>{escape(self.title)}</p>" + "".join(self._tabulated("html", _NOTEBOOK))

    def __repr__(self) -> str:
        return f"{folded(self.title)}\n\n{self.table()}"

    def _tabulated(self, style: str, width: int) -> list[str]:
        return [
            tabulate(block[1:], headers=block[0], tablefmt=style, disable_numparse=True)
            for block in self._blocks(width)
        ]

    def _blocks(self, width: int) -> list[list[list[str]]]:
        """Tables as rows of words, the first of which is the header; each fits the width."""
        counted = {each.metric for each in self.scores if each.num_images}
        blocks = []
        for group in _GROUPS:
            of_group = [each for each in self.scores if METRICS[each.metric].group == group and each.metric in counted]
            metrics = list(dict.fromkeys(each.metric for each in of_group))
            methods = list(dict.fromkeys(each.method for each in of_group))
            by_pair = {(each.method, each.metric): each for each in of_group}
            first = [f"{group}, %", *(method_title(method) for method in methods)]
            columns = [
                [
                    _heading(next(each for each in of_group if each.metric == metric)),
                    *(self._cell(by_pair.get((method, metric))) for method in methods),
                ]
                for metric in metrics
            ]
            blocks += [list(map(list, zip(first, *part, strict=True))) for part in _fitting(first, columns, width)]
        return blocks

    def _cell(self, score: Score | None) -> str:
        """A score; a dash where a method lacks it, as a control that is scored beside `win`."""
        return "–" if score is None else score.shown(signed=self.signed)

    def to_frame(self) -> Any:
        """The scores as a pandas data frame: one row per method and metric, values as fractions.

        Raises:
            ModuleNotFoundError: If pandas is not installed.
        """
        return data_frame(dict(zip(_COLUMNS, row, strict=True)) for row in map(_row, self.scores))

    def write_csv(self, path: str | Path) -> Path:
        """Write a line per method and metric, values as fractions.

        Args:
            path: The file.
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for method, metric, *numbers, count, better in map(_row, self.scores):
            writer.writerow([method, metric, *map(_number, numbers), count, better])
        write_whole(Path(path), text.getvalue())
        return Path(path)


_COLUMNS = ("method", "metric", "score", "low_95", "high_95", "images", "better")


def _row(score: Score) -> tuple[Any, ...]:
    better = "higher" if score.higher_is_better else "lower"
    return score.method, score.metric, *score.interval, score.num_images, better


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"


def _heading(score: Score) -> str:
    return f"{METRICS[score.metric].title} {'↑' if score.higher_is_better else '↓'}"


def _fitting(first: list[str], columns: list[list[str]], width: int) -> list[list[list[str]]]:
    """Columns in groups that fit beside the first one."""
    room = width - column_width(first)
    groups: list[list[list[str]]] = []
    left = 0
    for column in columns:
        needed = column_width(column) + 2
        if needed > left or not groups:
            groups.append([])
            left = room
        groups[-1].append(column)
        left -= needed
    return groups
