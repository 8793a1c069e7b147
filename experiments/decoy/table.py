"""Writes results.csv and the tables of both READMEs from the runs that run.sh made.

    python -m experiments.decoy.table

A row of results.csv whose run is not here stays as it is.
"""

from __future__ import annotations

import csv
import json
import re
from collections import defaultdict
from pathlib import Path

from camtrain.report.points import Estimate
from camtrain.report.tables import shown
from experiments.results_table import put

HERE = Path(__file__).parent
STUDY = Path("runs/decoy")
ACCURACY = "test/accuracy"
COLUMNS = {
    ACCURACY: "test accuracy, %",
    "test/energy_pointing_game/grad_cam": "energy of Grad-CAM in the digit's box, %",
    "test/localization_iou_25/grad_cam": "IoU of Grad-CAM, %",
}
KEYS = (*COLUMNS, "train/loss_classification")
IN_README = ("plain_60", "right_for_right_reasons_60", "clean_60")


def main() -> None:
    """Gather and write."""
    scores = gathered()
    with (HERE / "results.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["setting", "seed", *KEYS])
        for name, of_seeds in scores.items():
            for seed, of_run in sorted(of_seeds.items()):
                writer.writerow([name, seed, *(round(of_run[key], 6) if key in of_run else "" for key in KEYS)])
    lines = ["| | seeds | share of the gap, % | " + " | ".join(COLUMNS.values()) + " |"]
    lines.append("| --- " * (3 + len(COLUMNS)) + "|")
    lines += [line(name, scores) for name in scores]
    put("\n".join(lines), HERE / "README.md", "<!-- results of experiments/decoy -->\n")
    short = [*lines[:2], *(line(name, scores) for name in IN_README if name in scores)]
    put("\n".join(short), Path("README.md"), "<!-- results of experiments/decoy -->\n")
    print("\n".join(lines))


def gathered() -> dict[str, dict[int, dict[str, float]]]:
    """Scores by setting and seed; of a run that was made several times, the last."""
    scores: dict[str, dict[int, dict[str, float]]] = defaultdict(dict)
    order = re.findall(r'^    "(\w+)\|', (HERE / "run.sh").read_text(encoding="utf-8"), flags=re.MULTILINE)
    before = kept()
    for name in order:
        if name in before:
            scores[name] = before[name]
        for run in sorted(STUDY.glob(f"{name}_seed[0-9]")):
            versions = sorted(run.glob("version_*/scores.json"), key=lambda path: int(path.parent.name.split("_")[1]))
            if versions:
                scores[name][int(run.name[-1])] = json.loads(versions[-1].read_text(encoding="utf-8"))
    return scores


def kept() -> dict[str, dict[int, dict[str, float]]]:
    """What results.csv holds already."""
    scores: dict[str, dict[int, dict[str, float]]] = defaultdict(dict)
    if (HERE / "results.csv").exists():
        with (HERE / "results.csv").open(encoding="utf-8") as file:
            for row in csv.DictReader(file):
                scores[row["setting"]][int(row["seed"])] = {key: float(row[key]) for key in KEYS if row[key]}
    return scores


def line(name: str, scores: dict[str, dict[int, dict[str, float]]]) -> str:
    """A row of the table, mean ± standard deviation over seeds."""
    of_seeds = scores[name]
    epochs = "_60" if "_60" in name else ""  # a gap is that of trainings of the same length
    shares = shares_of_gap(of_seeds, scores[f"plain{epochs}"], scores[f"clean{epochs}"])
    cells = [name, str(len(of_seeds)), spread(shares)]
    cells += [spread([100 * of_run[key] for of_run in of_seeds.values() if key in of_run]) for key in COLUMNS]
    return f"| {' | '.join(cells)} |"


def shares_of_gap(
    of_seeds: dict[int, dict[str, float]], plain: dict[int, dict[str, float]], clean: dict[int, dict[str, float]]
) -> list[float]:
    """Of each seed, which share of what the decoy costs is recovered, in percent: 0 is plain, 100 is clean data."""
    return [
        100 * (of_run[ACCURACY] - plain[seed][ACCURACY]) / (clean[seed][ACCURACY] - plain[seed][ACCURACY])
        for seed, of_run in of_seeds.items()
        if seed in plain and seed in clean
    ]


def spread(values: list[float]) -> str:
    """Mean ± standard deviation, or the value where there is one, or a dash."""
    return shown(Estimate.of(values), digits=1)


if __name__ == "__main__":
    main()
