"""The tables of a study: on screen, in Markdown, in LaTeX and on the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tabulate import tabulate  # type: ignore[import-untyped, unused-ignore]

from camtrain.report.answer import Answer
from camtrain.report.point_comparison import PointComparison
from camtrain.report.points import Estimate, PointRuns
from camtrain.report.score_columns import ScoreColumn, score_columns

_TIME, _MEMORY = "train/seconds_per_step", "train/peak_memory"
_LATEX = {"λ": r"$\lambda$", "±": r"$\pm$", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "–": "--", "−": "$-$"}


@dataclass(frozen=True)
class Table:
    """Texts in rows and columns.

    Attributes:
        title: what it shows.
        headings: of the columns.
        rows: a point each, as long as the headings.
        best: index of the row that the answer names; `None` if there is none.
    """

    title: str
    headings: list[str]
    rows: list[list[str]]
    best: int | None = None

    def plain(self) -> str:
        """For a terminal."""
        return f"{self.title}\n\n{self._made('simple')}"

    def markdown(self) -> str:
        r"""For a README.

        Example:
            >>> print(Table("title", ["point"], [["a | b"]]).markdown())
            ### title
            <BLANKLINE>
            | point   |
            |---------|
            | a \| b  |
        """
        escaped = Table(self.title, self.headings, [[cell.replace("|", r"\|") for cell in row] for row in self.rows])
        return f"### {self.title}\n\n{escaped._made('github')}"

    def latex(self) -> str:
        """For a paper, with booktabs."""
        made = self._made("latex_booktabs")
        title = self.title.replace("%", r"\%")
        for symbol, command in _LATEX.items():
            made, title = made.replace(symbol, command), title.replace(symbol, command)
        return f"% {self.title}\n\\begin{{table}}\n\\centering\n\\caption{{{title}}}\n{made}\n\\end{{table}}"

    def _made(self, form: str) -> str:
        return str(tabulate(self.rows, self.headings, tablefmt=form, disable_numparse=True))


def tables_of(points: Sequence[PointRuns], answer: Answer) -> list[Table]:
    """The overview, and a table for each metric with a column for each method."""
    scores = score_columns(points)
    metrics = list(dict.fromkeys(score.metric for score in scores))
    of_metrics = [[score for score in scores if score.metric == metric] for metric in metrics]
    return [_overview(answer), *(_metric_table(points, each, answer) for each in of_metrics)]


def _overview(answer: Answer) -> Table:
    """Accuracy, losses, gain and cost."""
    headings = ["point", "seeds", "accuracy, %", "L_C", "L_R"]
    headings += ["gain of the maps, points", "95 % interval"] if answer.scores else []
    headings += ["time per step", "peak memory"]
    rows = []
    for each in answer.compared:
        runs = each.runs
        stage = answer.accuracy.partition("/")[0]
        losses = [shown(runs.estimate(f"{stage}/loss_{name}"), digits=3) for name in ("classification", "regularizer")]
        gain = [_signed(each, len(answer.scores)), _interval(each)] if answer.scores else []
        cost = [_ratio(each, _TIME), _ratio(each, _MEMORY)]
        accuracy = percent(runs.estimate(answer.accuracy))
        rows.append([runs.label, str(len(runs.rows)), accuracy, *losses, *gain, *cost])
    return Table("All points, mean ± standard deviation over the seeds", headings, rows, _best(answer))


def _metric_table(points: Sequence[PointRuns], scores: Sequence[ScoreColumn], answer: Answer) -> Table:
    headings = ["point", *(score.method_title for score in scores)]
    rows = [[runs.label, *(percent(runs.estimate(score.column)) for score in scores)] for runs in points]
    better = "higher" if scores[0].direction > 0 else "lower"
    return Table(f"{scores[0].title} {scores[0].arrow}, %: {better} is better", headings, rows, _best(answer))


def percent(estimate: Estimate) -> str:
    """A fraction in percent.

    Example:
        >>> percent(Estimate.of([0.5, 0.52])), percent(Estimate.of([0.5]))
        ('51.0 ± 1.4', '50.0')
    """
    return shown(Estimate(100 * estimate.mean, 100 * estimate.std, estimate.count), digits=1)


def shown(estimate: Estimate, digits: int) -> str:
    """Mean ± standard deviation; without the latter where there is one value, a dash where there is none."""
    if estimate.count == 0:
        return "–"
    spread = "" if math.isnan(estimate.std) else f" ± {estimate.std:.{digits}f}"
    return f"{estimate.mean:.{digits}f}{spread}"


def _best(answer: Answer) -> int | None:
    return next((row for row, each in enumerate(answer.compared) if each is answer.best), None)


def _signed(each: PointComparison, asked: int) -> str:
    """The gain; with the number of scores that it is the mean of where that is not all of them."""
    if each.is_baseline:
        return "baseline"
    if math.isnan(each.gain.mean):
        return "–"
    return f"{100 * each.gain.mean:+.2f}" + (f" ({each.scores} of {asked} scores)" if each.scores < asked else "")


def _interval(each: PointComparison) -> str:
    interval = None if each.is_baseline else each.gain.interval
    return "–" if interval is None else f"{100 * interval[0]:+.2f} to {100 * interval[1]:+.2f}"


def _ratio(each: PointComparison, column: str) -> str:
    """Against the baseline: seconds of this machine mean little elsewhere."""
    mine, theirs = each.runs.estimate(column), each.baseline.estimate(column)
    if not (mine.count and theirs.count and theirs.mean):
        return "–"
    unit = f"{theirs.mean:.3g} s" if column == _TIME else f"{theirs.mean:.0f} MiB"
    return f"1 ({unit})" if each.is_baseline else f"{mine.mean / theirs.mean:.2f} ×"
