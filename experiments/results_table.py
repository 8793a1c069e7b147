"""Gathers the scores of several runs: one row per run in results.csv, one row per setting in the README's table.

    python -m experiments.results_table experiments/first_light "pets=runs/first_light/pets_resnet18_seed*" ...

Each setting is `<name>=<pattern of run folders>`. Of a run that was made several times, the last one that has scores
counts. A row of results.csv whose run is not here stays as it is.
"""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

from camtrain.report.points import Estimate
from camtrain.report.tables import shown
from experiments.readme_tables import markdown_table, put_texts
from experiments.result_rows import read_rows, write_rows
from experiments.trained_runs import newest_version, scores_of

COLUMNS = {
    "test/accuracy": ("accuracy, %", 100),
    "test/loss_classification": ("L_C", 1),
    "test/loss_regularizer": ("L_R", 1),
    "test/energy_pointing_game/grad_cam": ("energy in box, %", 100),
    "test/energy_pointing_game/uniform": ("uniform map's, %", 100),
    "test/localization_iou_25/grad_cam": ("IoU, %", 100),
}
FIELDS = ["setting", "seed", "regularizer_weight", *COLUMNS]


def main(folder: Path, settings: list[str]) -> None:
    """Write results.csv and the README's table."""
    path = folder / "results.csv"
    rows = {(row["setting"], row["seed"]): row for row in read_rows(path, FIELDS)}
    for name, pattern in map(split, settings):
        for run in sorted(Path().glob(pattern)):
            if row := row_of(name, run):
                rows[row["setting"], row["seed"]] = row
        if not any(setting == name for setting, _ in rows):
            sys.exit(f"no run with scores matches {pattern}, and {path} has no row of {name!r}")
    # Those that are named, in this order, and then those that are not.
    order = [*dict.fromkeys([*(name for name, _ in map(split, settings)), *(name for name, _ in rows)])]
    write_rows(path, FIELDS, [rows[key] for key in sorted(rows, key=lambda key: (order.index(key[0]), int(key[1])))])
    put_texts(readme_texts(folder), folder / "README.md")
    print(*readme_texts(folder).values())


def split(setting: str) -> tuple[str, str]:
    """Split a setting into its name and its pattern, which has no equals sign."""
    name, _, pattern = setting.rpartition("=")
    return name, pattern


def row_of(name: str, run: Path) -> dict[str, str] | None:
    """Make the row of a run, from its scores, seed and λ; `None` if it has no scores."""
    scores, path = scores_of(run), newest_version(run, "scores.json")
    if scores is None or path is None:
        return None
    config = yaml.safe_load(path.with_name("config.yaml").read_text(encoding="utf-8"))
    known = {key: str(round(value, 6)) for key in COLUMNS if (value := scores.get(key)) is not None}
    weight = config["model"]["regularizer_weight"]
    return {"setting": name, "seed": str(config["seed_everything"]), "regularizer_weight": str(weight), **known}


def readme_texts(folder: Path) -> dict[str, str]:
    """Make the README's table: mean ± standard deviation over the seeds of each setting."""
    rows = read_rows(folder / "results.csv", FIELDS)
    lines = []
    for name in dict.fromkeys(row["setting"] for row in rows):
        of_setting = [row for row in rows if row["setting"] == name]
        lines.append([name, str(len(of_setting)), *(cell(of_setting, key) for key in COLUMNS)])
    table = markdown_table(["", "seeds", *(title for title, _ in COLUMNS.values())], lines)
    return {f"results of experiments/{folder.name}": table}


def cell(rows: list[dict[str, str]], key: str) -> str:
    """Show mean ± standard deviation; the value, if there is only one; a dash, if there is none."""
    _, factor = COLUMNS[key]
    values = [float(row[key]) * factor for row in rows if row.get(key)]
    return shown(Estimate.of(values), digits=1 if factor == 100 else 3)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2:])
