"""What the runs of a study had come to in the last epoch that they reached, finished or not.

    python experiments/lambda_cifar100/last_epochs.py STUDY

Writes unfinished_resnet20.csv and the table of the README.
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from pathlib import Path

from camtrain.report.points import Estimate
from camtrain.report.tables import shown
from camtrain.study import Study
from experiments.results_table import put

HERE = Path(__file__).parent
COLUMNS = ("epoch", "train/loss_classification", "val/accuracy", "val/loss_regularizer", "train/seconds_per_step")


def main() -> None:
    """Gather and write."""
    study = Study.opened(Path(sys.argv[1]))
    rows = []
    for trial in study.trials:
        with (study.folder_of(trial) / "version_0/metrics.csv").open(newline="") as file:
            epochs = [row for row in csv.DictReader(file) if row["val/accuracy"] or row["train/loss_classification"]]
        last = {key: value for row in epochs for key, value in row.items() if value}
        weight = trial.point["model.regularizer_weight"]
        rows.append({"λ": weight, "seed": trial.seed, **{key: round(float(last[key]), 5) for key in COLUMNS}})
    with (HERE / "unfinished_resnet20.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    put(table(rows), HERE / "README.md", "<!-- last epochs -->\n")


def table(rows: list[dict[str, float]]) -> str:
    """Mean ± standard deviation over the seeds."""
    by_weight = defaultdict(list)
    for row in rows:
        by_weight[row["λ"]].append(row)
    lines = ["| λ | seeds | epochs done | accuracy, % | L_C, training | L_R | seconds a step, 15 runs at a time |"]
    lines.append("| --- " * 7 + "|")
    for weight, of_seeds in by_weight.items():

        def spread(key: str, scale: float, digits: int, of_seeds: list[dict[str, float]] = of_seeds) -> str:
            return shown(Estimate.of([scale * row[key] for row in of_seeds]), digits)

        done = sorted({int(row["epoch"]) for row in of_seeds})
        cells = [f"{weight:g}", str(len(of_seeds)), f"{done[0]} to {done[-1]}", spread("val/accuracy", 100, 1)]
        cells += [spread("train/loss_classification", 1, 3), spread("val/loss_regularizer", 1, 3)]
        lines.append(f"| {' | '.join([*cells, spread('train/seconds_per_step', 1, 3)])} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
