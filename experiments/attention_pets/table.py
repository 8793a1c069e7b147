"""Writes results.csv and the README's table from the runs that run.sh made.

    python -m experiments.attention_pets.table

A row of results.csv whose run is not here stays as it is.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from camtrain.report.points import Estimate
from camtrain.report.tables import percent
from experiments.readme_tables import markdown_table, put_texts
from experiments.result_rows import read_rows, write_rows
from experiments.trained_runs import runs_by_seed, scores_of, settings_of

HERE = Path(__file__).parent
RESULTS = HERE / "results.csv"
MARKER = "results of experiments/attention_pets"
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


FIELDS = ["setting", "map", "seed", *COLUMNS]


def main() -> None:
    """Gather and write."""
    order = settings_of(HERE / "run.sh")
    rows = {key(row): row for row in read_rows(RESULTS, FIELDS)}
    rows |= {key(row): row for name in order for row in rows_of(name)}
    in_order = sorted(rows, key=lambda each: (order.index(each[0]), each[1] != "grad_cam", int(each[2])))
    write_rows(RESULTS, FIELDS, [rows[each] for each in in_order])
    put_texts(readme_texts(), HERE / "README.md")
    print(readme_texts()[MARKER])


def key(row: dict[str, str]) -> tuple[str, str, str]:
    """Tell rows apart by setting, map and seed."""
    return row["setting"], row["map"], row["seed"]


def rows_of(name: str) -> list[dict[str, str]]:
    """Make a row for each seed and map of a setting. Of a run that was made several times, the last one counts."""
    rows = []
    for method in ("grad_cam", "attention_map") if name in ATTENDED else ("grad_cam",):
        for seed, run in runs_by_seed(STUDY, name).items():
            if (scores := scores_of(run)) is not None:
                found = {column: scores.get(column.replace("METHOD", method)) for column in COLUMNS}
                values = {column: "" if value is None else str(round(value, 6)) for column, value in found.items()}
                rows.append({"setting": name, "map": method, "seed": str(seed), **values})
    return rows


def readme_texts() -> dict[str, str]:
    """Make the table of the README: mean ± standard deviation over the seeds."""
    grouped: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    for row in read_rows(RESULTS, FIELDS):
        grouped[row["setting"], row["map"]].append(row)
    lines = []
    for (name, method), of_seeds in grouped.items():
        estimates = [Estimate.of([float(row[column]) for row in of_seeds if row[column]]) for column in COLUMNS]
        lines.append([name, method, str(len(of_seeds)), *map(percent, estimates)])
    return {MARKER: markdown_table(["", "map", "seeds", *COLUMNS.values()], lines)}


if __name__ == "__main__":
    main()
