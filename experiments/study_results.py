"""The points of a study from its committed table of results."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from camtrain.report.points import WEIGHT, PointRuns
from camtrain.study import Trial
from experiments.result_rows import read_rows


def points_in(path: Path, model: Mapping[str, Any] | None = None) -> list[PointRuns]:
    """Read the runs of a study over λ from its `results.csv`, in the order of λ.

    Args:
        path: The file.
        model: The settings of the model but for λ, which tell what its regularizer trains by construction.

    Raises:
        ValueError: If two rows have the same λ and seed, as those of a grid over something else, too.
    """
    grouped: dict[float, dict[int, dict[str, Any]]] = defaultdict(dict)
    for row in read_rows(path):
        values = parsed_row(row)
        weight, seed = values[WEIGHT], int(values["seed"])
        if seed in grouped[weight]:
            raise ValueError(
                f"{path}: expected one row for each λ and seed, got several for λ = {weight:g}, seed {seed}"
            )
        grouped[weight][seed] = values
    # If the baseline is not finished it has no rows; it must not be replaced by another one.
    weights = sorted({0.0, *grouped})
    return [_point(weight, grouped[weight], model or {}) for weight in weights]


def _point(weight: float, rows: Mapping[int, dict[str, Any]], model: Mapping[str, Any]) -> PointRuns:
    point, config = {WEIGHT: weight}, {"model": {**model, "regularizer_weight": weight}}
    return PointRuns(point, {seed: Trial(point, seed, config) for seed in rows}, rows)


def parsed_row(row: Mapping[str, str]) -> dict[str, Any]:
    """Read the cells of a row that are numbers, leave out empty ones, and keep what only looks like a number."""
    return {column: text if _is_text(column) else _number_or_text(text) for column, text in row.items() if text}


def _is_text(column: str) -> bool:
    # The commit 7034437071e5 is no number, and Python 3.10 is not 3.1.
    return column in ("split", "trial", "hash", "commit", "device") or column.startswith("version/")


def _number_or_text(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
