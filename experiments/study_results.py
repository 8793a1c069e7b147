"""The points of a study from its committed table of results."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from camtrain.report.points import WEIGHT, PointRuns
from experiments.result_rows import read_rows


def points_in(path: Path) -> list[PointRuns]:
    """Read the runs of a study over λ from its `results.csv`, in the order of λ."""
    grouped: dict[float, dict[int, dict[str, Any]]] = defaultdict(dict)
    for row in read_rows(path):
        values: dict[str, Any] = {column: parsed(text) for column, text in row.items()}
        grouped[values[WEIGHT]][int(values["seed"])] = values
    # If the baseline is not finished it has no rows; it must not be replaced by another one.
    weights = sorted({0.0, *grouped})
    return [PointRuns({WEIGHT: weight}, {}, grouped[weight]) for weight in weights]


def parsed(text: str) -> float | str:
    """Read a cell as a number if it is one."""
    try:
        return float(text)
    except ValueError:
        return text
