"""Makes the tables of README.md from faithfulness.csv and localization.csv.

python -m experiments.metric_cost.table
"""

from __future__ import annotations

from pathlib import Path

from experiments.readme_tables import markdown_table, put_texts
from experiments.result_rows import read_rows

HERE = Path(__file__).parent


def main() -> None:
    """Write both tables."""
    texts = readme_texts()
    put_texts(texts, HERE / "README.md")
    print("\n\n".join(texts.values()))


def readme_texts() -> dict[str, str]:
    """Make the two tables of the README."""
    return {
        "faithfulness of experiments/metric_cost": faithfulness(),
        "localization of experiments/metric_cost": localization(),
    }


def faithfulness() -> str:
    """Make a row for each contender, with the quartiles of its ratio."""
    lines = []
    for row in read_rows(HERE / "faithfulness.csv"):
        images = f"{row['figure'].replace('_', ' + ')}, {row['images']} images of {row['size']} px"
        numbers = [float(row[name]) for name in ("ratio", "ratio_low", "ratio_high")]
        ratio = "{:.3g} ({:.3g} to {:.3g})".format(*numbers)
        lines.append([images, row["contender"], f"{float(row['seconds_median']):.2f}", ratio, row["remark"]])
    return markdown_table(["figure", "", "s", "time / baseline (quartiles)", "remark"], lines)


def localization() -> str:
    """Make a row for each contender and score."""
    lines = []
    for row in read_rows(HERE / "localization.csv"):
        seconds = f"{float(row['seconds_median']):.2f}"
        ratio = f"{float(row['ratio_to_ours']):.3g}"
        lines.append([row["figure"], row["contender"], row["maps"], seconds, ratio, row["remark"]])
    return markdown_table(["figure", "", "maps a round", "s", "time of a map / ours", "remark"], lines)


if __name__ == "__main__":
    main()
