"""Writes the answer and the table of this folder's README.

    python -m experiments.quickstart.table

It reads results.csv, which is committed. The table is that of the report, and so is the rule behind the answer.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from camtrain.report.answer import Rule, answered
from experiments.readme_tables import markdown_table, put_texts
from experiments.study_results import points_in

HERE = Path(__file__).parent
CONFIG = HERE.parents[1] / "configs" / "quickstart.yaml"
MARKER = "{} of experiments/quickstart"


def main() -> None:
    """Write between the marker lines of the README."""
    texts = readme_texts()
    put_texts(texts, HERE / "README.md")
    print("\n\n".join(texts.values()))


def readme_texts() -> dict[str, str]:
    """Make the answer and the table of all points."""
    model = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["model"]
    answer = answered(points_in(HERE / "results.csv", model), Rule())
    table = markdown_table(answer.table.headings, answer.table.rows)
    return {MARKER.format("answer"): answer.sentence, MARKER.format("results"): table}


if __name__ == "__main__":
    main()
