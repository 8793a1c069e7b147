"""Writes the answer and the tables of this folder's README.

    python -m experiments.quickstart.table

It reads the committed CSV files. The answer and the first table are those of the report of `make demo`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from camtrain.report.answer import Rule, answered
from camtrain.report.point_comparison import point_comparison
from camtrain.report.points import WEIGHT, PointRuns
from camtrain.report.score_columns import gaining_scores, leakage_scores
from camtrain.study import EVALUATED, VALIDATED
from experiments.compared_settings import bold
from experiments.readme_tables import markdown_table, put_texts
from experiments.study_results import points_in

HERE = Path(__file__).parent
CONFIG = HERE.parents[1] / "configs" / "quickstart.yaml"
MARKER = "{} of experiments/quickstart"
# The λ and schedules that were compared, with the file of each. The first is that of the configuration.
LATE = "λ = 0.5 from epoch 4 on"
SCHEDULES = {
    "λ = 1 from epoch 4 on": "results.csv",
    LATE: "weight_0.5.csv",
    "λ = 0.5 from epoch 0 on": "from_epoch_0.csv",
    "λ rising to 0.5 from epoch 0 to 5": "rising.csv",
}
HEADINGS = ("", "validation: gain", "accuracy", "test: gain", "beyond control", "accuracy", "leakage")


def main() -> None:
    """Write between the marker lines of the README."""
    texts = readme_texts()
    put_texts(texts, HERE / "README.md")
    print("\n\n".join(texts.values()))


def readme_texts() -> dict[str, str]:
    """Make the answer, the table of all points, and that of the schedules."""
    model = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["model"]
    points = points_in(HERE / "results.csv", model)
    answer = answered(points, Rule())
    table = markdown_table(answer.table.headings, answer.table.rows)
    compared = {title: _regularized(HERE / file) for title, file in SCHEDULES.items()}
    late = compared[LATE]
    texts = {
        "answer": answer.sentence,
        "results": table,
        "schedules": _table(compared, points[0]),
        "against epoch 4": _table({title: point for title, point in compared.items() if title != LATE}, late),
    }
    return {MARKER.format(name): text for name, text in texts.items()}


def _regularized(path: Path) -> PointRuns:
    """The one point of a file whose λ is not 0."""
    (point,) = [each for each in points_in(path) if each.point[WEIGHT]]
    return point


def _table(points: Mapping[str, PointRuns], baseline: PointRuns) -> str:
    return markdown_table(HEADINGS, [[title, *_cells(point, baseline)] for title, point in points.items()])


def _cells(point: PointRuns, baseline: PointRuns) -> list[str]:
    """The changes against a baseline: gain and accuracy on validation images, then everything on test images."""
    both = [baseline, point]
    of_val, of_test = (
        point_comparison(point, baseline, gaining_scores(both, None, prefix), accuracy, leakage_scores(both, prefix))
        for prefix, accuracy in ((VALIDATED, "val/accuracy"), (EVALUATED, "test/accuracy"))
    )
    estimates = of_val.gain, of_val.accuracy, of_test.gain, of_test.beyond, of_test.accuracy, of_test.leakage
    return [bold(each, 1) for each in estimates]


if __name__ == "__main__":
    main()
