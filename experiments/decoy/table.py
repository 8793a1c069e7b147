"""Writes results.csv and the README's table, from the runs that run.sh made.

    python -m experiments.decoy.table

A row of results.csv whose run is not here stays as it is.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from camtrain.report.points import Estimate
from camtrain.report.tables import shown
from experiments.readme_tables import markdown_table, put_texts
from experiments.result_rows import read_rows, write_rows
from experiments.trained_runs import runs_by_seed, scores_of, settings_of

HERE = Path(__file__).parent
RESULTS = HERE / "results.csv"
MARKER = "results of experiments/decoy"
STUDY = Path("runs/decoy")
ACCURACY = "test/accuracy"
COLUMNS = {
    ACCURACY: "test accuracy, %",
    "test/energy_pointing_game/grad_cam": "energy of Grad-CAM in the digit's box, %",
    "test/localization_iou_25/grad_cam": "IoU of Grad-CAM, %",
}
KEYS = (*COLUMNS, "train/loss_classification")
FIELDS = ["setting", "seed", *KEYS]
Scores = dict[str, dict[int, dict[str, float]]]  # by setting, seed and key


def main() -> None:
    """Gather and write."""
    rows = [
        [name, seed, *(round(of_run[key], 6) if key in of_run else "" for key in KEYS)]
        for name, of_seeds in gathered().items()
        for seed, of_run in sorted(of_seeds.items())
    ]
    write_rows(RESULTS, FIELDS, rows)
    put_texts(readme_texts(), HERE / "README.md")
    print(readme_texts()[MARKER])


def gathered() -> Scores:
    """Collect the scores, in the order of run.sh. Of a run that was made several times, the last one counts."""
    scores: Scores = {}
    before = kept()
    for name in settings_of(HERE / "run.sh"):
        of_seeds = dict(before.get(name, {}))
        for seed, run in runs_by_seed(STUDY, name).items():
            if (found := scores_of(run)) is not None:
                of_seeds[seed] = {key: value for key in KEYS if (value := found.get(key)) is not None}
        if of_seeds:
            scores[name] = of_seeds
    return scores


def kept() -> Scores:
    """Read the scores that results.csv holds."""
    scores: Scores = defaultdict(dict)
    for row in read_rows(RESULTS, FIELDS):
        scores[row["setting"]][int(row["seed"])] = {key: float(row[key]) for key in KEYS if row[key]}
    return scores


def readme_texts() -> dict[str, str]:
    """Make the table of this folder's README, with all settings."""
    return {MARKER: table(list(kept()))}


def table(names: list[str]) -> str:
    """Make a table with a row for each setting."""
    scores = kept()
    headings = ["", "seeds", "share of the gap, %", *COLUMNS.values()]
    return markdown_table(headings, [line(name, scores) for name in names])


def line(name: str, scores: Scores) -> list[str]:
    """Make a row of the table: mean ± standard deviation over seeds."""
    of_seeds = scores[name]
    epochs = "_60" if "_60" in name else ""  # a gap is that of trainings of the same length
    shares = shares_of_gap(of_seeds, scores[f"plain{epochs}"], scores[f"clean{epochs}"])
    cells = [name, str(len(of_seeds)), spread(shares)]
    return cells + [spread([100 * of_run[key] for of_run in of_seeds.values() if key in of_run]) for key in COLUMNS]


def shares_of_gap(
    of_seeds: dict[int, dict[str, float]], plain: dict[int, dict[str, float]], clean: dict[int, dict[str, float]]
) -> list[float]:
    """Compute which share of what the decoy costs each seed recovers, in percent: 0 is plain, 100 is clean data."""
    return [
        100 * (of_run[ACCURACY] - plain[seed][ACCURACY]) / (clean[seed][ACCURACY] - plain[seed][ACCURACY])
        for seed, of_run in of_seeds.items()
        if seed in plain and seed in clean
    ]


def spread(values: list[float]) -> str:
    """Show mean ± standard deviation; the value, if there is only one; a dash, if there is none."""
    return shown(Estimate.of(values), digits=1)


if __name__ == "__main__":
    main()
