"""Two networks on the same images, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from tabulate import tabulate  # type: ignore[import-untyped, unused-ignore]
from torch import Tensor

from camtrain.evaluation.bootstrap import mean_difference_interval, resampling_weights
from camtrain.evaluation.curves import compared_curves_figure
from camtrain.evaluation.evaluation import Evaluation
from camtrain.evaluation.score import ScoreTable, shown_interval, verdict
from camtrain.files import whole_file
from camtrain.messages import folded_table
from camtrain.methods import method_title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_HEADINGS = ["network, %", "first", "second", "second minus first"]

CURVES = "curves_compared.png"
"""The file with the curves of both networks."""


@dataclass(frozen=True, repr=False)
class Comparison:
    """Two networks, evaluated on the same images. It prints as tables in a terminal and in a notebook.

    Attributes:
        first: The evaluation of the first network.
        second: The evaluation of the second network.
        differences: The second's scores minus the first's.
        beyond: The same differences of the scores beyond a control (see `Evaluation.beyond`), by control. A network
            that scores well with any map gains nothing here.
    """

    first: Evaluation
    second: Evaluation
    differences: ScoreTable
    beyond: Mapping[str, ScoreTable] = field(default_factory=dict)

    @property
    def tables(self) -> list[ScoreTable]:
        """The differences: of the scores, and of the scores beyond each control."""
        return [self.differences, *self.beyond.values()]

    def networks(self) -> str:
        """A table of both networks for a terminal: their accuracies and flat maps, with paired intervals."""
        rows = self._rows()
        return folded_table(_HEADINGS, rows) if rows else ""

    def _rows(self) -> list[list[str]]:
        return [
            row
            for name, higher_is_better, of_each in self._facts()
            if (row := self._row(name, higher_is_better, of_each)) is not None
        ]

    def _facts(self) -> list[tuple[str, bool, list[Tensor]]]:
        """What is known of each image, NaN where it is not: its name, whether more is better, and (N,) of each network.

        The networks are compared by what both have.
        """
        both = (self.first.found, self.second.found)
        methods = [name for name in self.first.evaluator.methods if all(name in found.flat for found in both)]
        return [
            ("accuracy ↑", True, [found.is_right for found in both]),
            *((f"flat maps ↓, {method_title(name)}", False, [each.is_flat(name) for each in both]) for name in methods),
        ]

    def _row(self, name: str, higher_is_better: bool, of_each: Sequence[Tensor]) -> list[str] | None:
        known = torch.stack([values.isfinite() for values in of_each]).all(dim=0)
        if not bool(known.any()):
            return None
        first, second = (values[known] for values in of_each)
        weights = resampling_weights(len(first), self.first.num_resamples, self.first.evaluator.settings.seed)
        interval = mean_difference_interval(first, second, weights)
        means = [f"{100 * float(values.mean()):.1f}" for values in (first, second)]
        said = verdict(interval, higher_is_better=higher_is_better)
        return [name, *means, f"{shown_interval(interval, signed=True)} {said}".strip()]

    def curves_figure(self) -> Figure:
        """The curves of both networks in one figure: the first solid, the second dashed.

        Raises:
            ValueError: If no metric with a curve was scored.
        """
        if not (self.first.curves and self.second.curves):
            raise ValueError("`metrics`: expected insertion_auc, deletion_auc or road, which have curves")
        titles = (f"first: {self.first.title}", f"second: {self.second.title}")
        return compared_curves_figure((self.first.curves, self.second.curves), titles, self.first.evaluator.settings)

    def write(self, folder: str | Path) -> list[Path]:
        """Write the differences, and the curves of both networks in one figure.

        That is `differences.csv`, `differences_beyond_<control>.csv`, and `curves_compared.png` where there are curves.

        Args:
            folder: It is made if need be; files of the same names are replaced.

        Returns:
            The paths.
        """
        path = Path(folder)
        written = [self.differences.write_csv(path / "differences.csv")]
        for control, table in self.beyond.items():
            written.append(table.write_csv(path / f"differences_beyond_{control}.csv"))
        if self.first.curves and self.second.curves:
            with whole_file(path / CURVES) as unfinished:
                self.curves_figure().savefig(unfinished)
            written.append(path / CURVES)
        return written

    def __repr__(self) -> str:
        parts = [str(self.first), str(self.second), self.networks(), *map(str, self.tables)]
        return "\n\n".join(part for part in parts if part)

    def _repr_html_(self) -> str:
        tables = (each._repr_html_() for each in self.tables)
        rows = self._rows()
        networks = tabulate(rows, _HEADINGS, tablefmt="html", disable_numparse=True) if rows else ""
        return "".join([self.first._repr_html_(), self.second._repr_html_(), networks, *tables])
