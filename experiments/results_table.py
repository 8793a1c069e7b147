"""Gathers the scores of several runs: one line per run in results.csv, one row per setting in a README's table.

    python -m experiments.results_table experiments/quickstart "λ = 0=runs/quickstart_0_seed*" "λ = 7.5e-3=runs/..."

Each setting is `<name>=<pattern of run folders>`; of a run that was made several times, the last counts. The table
stands between two marker lines, `<!-- results of <folder> -->` and `<!-- end -->`, in the README of the experiment and,
if it has them too, of the project.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import yaml

from camtrain.report.points import Estimate
from camtrain.report.tables import shown

COLUMNS = {
    "test/accuracy": ("accuracy, %", 100),
    "test/loss_classification": ("L_C", 1),
    "test/loss_regularizer": ("L_R", 1),
    "test/energy_pointing_game/grad_cam": ("energy in box, %", 100),
    "test/energy_pointing_game/uniform": ("uniform map's, %", 100),
    "test/localization_iou_25/grad_cam": ("IoU, %", 100),
}


def main(folder: Path, settings: list[str]) -> None:
    """Write results.csv and the README's table."""
    rows = [(name, run) for name, pattern in map(split, settings) for run in runs(pattern)]
    records = [record(name, run) for name, run in rows]
    with (folder / "results.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["setting", "seed", "regularizer_weight", *COLUMNS])
        writer.writeheader()
        writer.writerows(records)
    text = table(records)
    print(text)
    for readme in (folder / "README.md", Path("README.md")):
        put(text, readme, f"<!-- results of {folder.as_posix().rstrip('/')} -->\n")


def put(text: str, readme: Path, start: str) -> None:
    """Replace what stands between the marker lines, if the file has them."""
    before, found, rest = readme.read_text(encoding="utf-8").partition(start)
    if found:
        _, end, after = rest.partition("<!-- end -->")
        readme.write_text(f"{before}{start}{text}\n{end}{after}", encoding="utf-8")


def split(setting: str) -> tuple[str, str]:
    """Name and pattern, which has no equals sign of its own."""
    name, _, pattern = setting.rpartition("=")
    return name, pattern


def runs(pattern: str) -> list[Path]:
    """The last version of each run that matches."""
    names = sorted(Path().glob(pattern))
    if not names:
        sys.exit(f"no run matches {pattern}")
    return [max(name.glob("version_*"), key=lambda version: int(version.name.split("_")[1])) for name in names]


def record(name: str, run: Path) -> dict[str, object]:
    """Scores of one run, with its seed and λ."""
    scores = json.loads((run / "scores.json").read_text(encoding="utf-8"))
    config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    known = {key: round(scores[key], 6) for key in COLUMNS if scores.get(key) is not None}
    weight = config["model"]["regularizer_weight"]
    return {"setting": name, "seed": config["seed_everything"], "regularizer_weight": weight, **known}


def table(records: list[dict[str, object]]) -> str:
    """Mean ± standard deviation over the seeds of each setting, in Markdown."""
    lines = [["", "seeds", *(title for title, _ in COLUMNS.values())]]
    for name in dict.fromkeys(str(each["setting"]) for each in records):
        of_setting = [each for each in records if each["setting"] == name]
        lines.append([name, str(len(of_setting)), *(cell(of_setting, key) for key in COLUMNS)])
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(records: list[dict[str, object]], key: str) -> str:
    """Mean ± standard deviation, or the value where there is one, or a dash."""
    _, factor = COLUMNS[key]
    values = [float(str(each[key])) * factor for each in records if key in each]
    return shown(Estimate.of(values), digits=1 if factor == 100 else 3)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2:])
