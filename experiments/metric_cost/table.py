"""The tables of README.md, from faithfulness.csv and localization.csv.

python -m experiments.metric_cost.table
"""

from __future__ import annotations

import csv
from pathlib import Path

from experiments.results_table import put

HERE = Path(__file__).parent


def main() -> None:
    """Write both tables."""
    for name, rows in (("faithfulness", faithfulness()), ("localization", localization())):
        text = "\n".join(rows)
        print(f"{text}\n")
        put(text, HERE / "README.md", f"<!-- metric cost: {name} -->\n")


def faithfulness() -> list[str]:
    """A row for each contender, with the quartiles of its ratio."""
    lines = ["| figure | | s | time / baseline (quartiles) | remark |", "|---|---|---|---|---|"]
    for row in read("faithfulness.csv"):
        images = f"{row['figure'].replace('_', ' + ')}, {row['images']} images of {row['size']} px"
        numbers = [float(row[name]) for name in ("ratio", "ratio_low", "ratio_high")]
        ratio = "{:.3g} ({:.3g} to {:.3g})".format(*numbers)
        lines.append(
            f"| {images} | {row['contender']} | {float(row['seconds_median']):.2f} | {ratio} | {row['remark']} |"
        )
    return lines


def localization() -> list[str]:
    """A row for each contender and score."""
    lines = ["| figure | | maps a round | s | time of a map / ours | remark |", "|---|---|---|---|---|---|"]
    for row in read("localization.csv"):
        seconds = f"{float(row['seconds_median']):.2f}"
        ratio = f"{float(row['ratio_to_ours']):.3g}"
        cells = (row["figure"], row["contender"], row["maps"], seconds, ratio, row["remark"])
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def read(name: str) -> list[dict[str, str]]:
    """The rows of a file."""
    with (HERE / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()
