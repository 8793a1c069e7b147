"""What a run and a study come to, without what differs from call to call: times, paths and memory."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import torch

TIMINGS = ("seconds", "peak_memory_mib", "train/seconds_per_step", "train/processor_seconds_per_step")
_OF_MACHINE = ("commit", "device", "version/")


def results_of_run(run: Path) -> dict[str, Any]:
    """The weights, the state of the optimizer, the rows of the table, the scores and the best checkpoint of a run.

    Args:
        run: The folder of the run.

    Returns:
        Each of them by name; what is not there is `None`.
    """
    last = run / "checkpoints/last.ckpt"
    found: dict[str, Any] = dict.fromkeys(("weights", "optimizer", "progress", "best"))
    try:
        saved = torch.load(last, map_location="cpu", weights_only=True)
    except Exception:  # torch raises almost anything for a file that is no checkpoint
        saved = {}
    if isinstance(saved, dict) and "state_dict" in saved:
        found |= {"weights": saved["state_dict"], "optimizer": saved.get("optimizer_states")}
        found["progress"] = {"epoch": saved.get("epoch"), "steps": saved.get("global_step")}
    best = sorted(path for path in (run / "checkpoints").glob("epoch_*.ckpt"))
    if best:
        found["best"] = {"name": [path.name for path in best], "weights": _weights(best[-1])}
    columns, rows = _table(run / "metrics.csv")
    found |= {
        "columns of metrics.csv": columns,
        "rows of metrics.csv": rows,
        "scores.json": _scores(run / "scores.json"),
    }
    return found


def results_of_study(study: Path) -> dict[str, Any]:
    """The rows of the table of a study, without timings and what the machine is called."""
    _, rows = _table(study / "results.csv")
    return {"results.csv": rows}


def missing_rows(wanted: dict[str, Any], found: dict[str, Any]) -> int:
    """Count the rows of an uninterrupted run that another one lacks, by epoch, step and columns."""
    rows = list(found["rows of metrics.csv"] or [])
    missing = 0
    for row in wanted["rows of metrics.csv"] or []:
        if row in rows:
            rows.remove(row)
        else:
            missing += 1
    return missing


def _weights(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    except Exception:  # as above
        return None


def _table(path: Path) -> tuple[list[str] | None, list[dict[str, str]] | None]:
    if not path.is_file():
        return None, None
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            rows = [{str(key): value for key, value in row.items() if value and _is_result(str(key))} for row in reader]
            return [name for name in reader.fieldnames or [] if _is_result(name)], [row for row in rows if row]
    except (csv.Error, UnicodeDecodeError):
        return None, None


def _scores(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return {key: value for key, value in found.items() if _is_result(key)} if isinstance(found, dict) else None


def _is_result(name: str) -> bool:
    return not any(timing in name for timing in TIMINGS) and not name.startswith(_OF_MACHINE)
