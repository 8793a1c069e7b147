"""Writes results.csv and the README's table from the runs that run.sh made.

    python -m experiments.attention_pets.table

A row of results.csv whose run is not here stays as it is.
"""

from __future__ import annotations

import csv
import json
import re
from collections import defaultdict
from pathlib import Path

from camtrain.report.points import Estimate
from camtrain.report.tables import percent
from experiments.results_table import put

HERE = Path(__file__).parent
STUDY = Path("runs/attention_pets")
COLUMNS = {
    "test/accuracy": "accuracy, %",
    "test/energy_pointing_game/METHOD": "energy in mask, %",
    "test/localization_iou_25/METHOD": "IoU, %",
    "test/pixel_average_precision/METHOD": "PxAP, %",
    "test/pointing_game/METHOD": "pointing, %",
    "test/flat_maps/METHOD": "maps without a positive value, %",
}
ATTENDED = ("attention_branch", "lfi_cam")


def main() -> None:
    """Gather and write."""
    rows = kept() | {tuple(row[:3]): row for name in settings() for row in rows_of(name)}
    order = settings()
    in_order = sorted(rows.values(), key=lambda row: (order.index(str(row[0])), str(row[1]) != "grad_cam", str(row[2])))
    with (HERE / "results.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["setting", "map", "seed", *COLUMNS])
        writer.writerows(in_order)
    lines = ["| | map | seeds | " + " | ".join(COLUMNS.values()) + " |", "| --- " * (3 + len(COLUMNS)) + "|"]
    grouped: dict[tuple[object, object], list[list[object]]] = defaultdict(list)
    for row in in_order:
        grouped[row[0], row[1]].append(row)
    for (name, method), of_seeds in grouped.items():
        values = [[float(str(row[3 + k])) for row in of_seeds if row[3 + k] != ""] for k in range(len(COLUMNS))]
        cells = [percent(Estimate.of(of_column)) for of_column in values]
        lines.append(f"| {name} | {method} | {len(of_seeds)} | " + " | ".join(cells) + " |")
    put("\n".join(lines), HERE / "README.md", "<!-- results of experiments/attention_pets -->\n")
    print("\n".join(lines))


def kept() -> dict[tuple[object, ...], list[object]]:
    """What results.csv holds already, by setting, map and seed."""
    if not (HERE / "results.csv").exists():
        return {}
    with (HERE / "results.csv").open(encoding="utf-8") as file:
        rows: list[list[object]] = [[name, method, int(seed), *cells] for name, method, seed, *cells in
                                    list(csv.reader(file))[1:]]  # fmt: skip
    return {tuple(row[:3]): row for row in rows}


def settings() -> list[str]:
    """The names of run.sh, in its order."""
    return re.findall(r'^    "(\w+)\|', (HERE / "run.sh").read_text(encoding="utf-8"), flags=re.MULTILINE)


def rows_of(name: str) -> list[list[object]]:
    """A row for each seed and map of a setting; of a run that was made several times, the last."""
    rows: list[list[object]] = []
    for method in ("grad_cam", "attention_map") if name in ATTENDED else ("grad_cam",):
        for run in sorted(STUDY.glob(f"{name}_seed[0-9]")):
            versions = sorted(run.glob("version_*/scores.json"), key=lambda path: int(path.parent.name.split("_")[1]))
            if versions:
                scores = json.loads(versions[-1].read_text(encoding="utf-8"))
                keys = [key.replace("METHOD", method) for key in COLUMNS]
                values = ["" if scores.get(key) is None else round(scores[key], 6) for key in keys]
                rows.append([name, method, int(run.name[-1]), *values])
    return rows


if __name__ == "__main__":
    main()
