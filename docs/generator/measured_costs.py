"""What a regularizer, a method or a metric costs, from the results of the experiments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from docs.generator.families import Family
from docs.generator.links import ROOT
from experiments.readme_tables import markdown_table
from experiments.result_rows import read_rows

_REGULARIZERS = ROOT / "experiments" / "regularizer_cost" / "results.csv"
_MAPS = ROOT / "experiments" / "cam_cost" / "results.csv"


def measured_cost(family: Family) -> str:
    """A table of what was measured, with its source; empty if nothing was.

    Args:
        family: The regularizer, method or metric.
    """
    if family.kind == "regularizers":
        return _of_regularizer(family)
    return _of_method(family) if family.kind == "methods" else ""


def step_ratio(name: str) -> str:
    """The time of a training step with a regularizer, relative to a plain step; empty if it was not measured.

    Args:
        name: The class of the regularizer.
    """
    rows = [row for row in _rows(_REGULARIZERS) if row["regularizer"] == name]
    return f"{float(rows[0]['step_over_plain']):.2f}" if rows else ""


def _of_regularizer(family: Family) -> str:
    name = family.main.__name__
    rows = [row for row in _rows(_REGULARIZERS) if row["regularizer"].replace(",", " ").split()[0] == name]
    if not rows:
        return ""
    cells = [
        [
            row["regularizer"],
            f"{float(row['step_over_plain']):.2f}",
            f"{float(row['lowest_quarter']):.2f} to {float(row['highest_quarter']):.2f}",
        ]
        for row in rows
    ]
    table = markdown_table(["measured", "step / plain step", "middle half of the rounds"], cells)
    return f"{table}\n\nMeasured in [regularizer_cost](../experiments/regularizer_cost.md)."


def _of_method(family: Family) -> str:
    rows = [row for row in _rows(_MAPS) if row["figure"] in family.registered and row["contender"] != row["baseline"]]
    if not rows:
        return ""
    cells = [
        [
            row["contender"],
            f"{row['images']} of {row['size']} px, {row['network']}",
            f"{1000 * float(row['seconds']):.0f}",
            f"{float(row['ratio']):.3g}",
            row["baseline"],
        ]
        for row in rows
    ]
    table = markdown_table(["measured", "images", "ms", "time / baseline", "baseline"], cells)
    return f"{table}\n\nMeasured in [cam_cost](../experiments/cam_cost.md), one thread of a CPU."


def _rows(path: Path) -> Iterable[Mapping[str, str]]:
    return read_rows(path)
