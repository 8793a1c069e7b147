"""Writes the answers and tables of this folder's README from results.csv.

    python -m experiments.lambda_cifar100.table

It reads `<network>/results.csv`, which are committed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from camtrain.messages import signed_points
from camtrain.report.answer import Answer, Rule, answered
from camtrain.report.point_comparison import PointComparison
from camtrain.report.points import WEIGHT, Estimate, number
from camtrain.report.score_columns import ScoreColumn
from camtrain.report.tables import percent, shown
from experiments.readme_tables import markdown_table, put_texts
from experiments.study_results import points_in

HERE = Path(__file__).parent
NETWORKS = {"resnet20": "ResNet-20", "mobilenet_v2": "small MobileNet-V2"}
METHOD = "grad_cam"  # whose scores are in the table of results
MARKER = "{} of experiments/lambda_cifar100"


def main() -> None:
    """Write between the marker lines of the README."""
    texts = readme_texts()
    put_texts(texts, HERE / "README.md")
    print("\n\n".join(texts.values()))


def readme_texts() -> dict[str, str]:
    """Make the answers and tables of the README."""
    points = {name: points_in(HERE / folder / "results.csv") for folder, name in NETWORKS.items()}
    answers = {name: answered(of_network, Rule()) for name, of_network in points.items()}
    told = [f"{name}. {answer.sentence}" for name, answer in answers.items()]
    texts = {"answers": "\n\n".join(told), "claims": claims(answers), "results": results(answers)}
    return {MARKER.format(name): text for name, text in texts.items()}


def claims(answers: dict[str, Answer]) -> str:
    """Count the scores of maps that each point improves, on the mean and with an interval that excludes 0."""
    headings = ["network", "λ", "change of accuracy, points", "scores better", "certainly better", "certainly worse"]
    lines = []
    for name, answer in answers.items():
        for each in answer.compared:
            if not each.is_baseline:
                gains = [gain(each, score) for score in answer.scores]
                better = [
                    sum(estimate.mean > 0 for estimate in gains),
                    sum(bounds(estimate)[0] > 0 for estimate in gains),
                    sum(bounds(estimate)[1] < 0 for estimate in gains),
                ]
                accuracy = in_points(each.accuracy)
                lines.append(
                    [name, f"{each.runs.point[WEIGHT]:g}", accuracy, *(f"{n} of {len(gains)}" for n in better)]
                )
    return markdown_table(headings, lines)


def results(answers: dict[str, Answer]) -> str:
    """List accuracy, L_R and the scores of one method's maps, the gain over all methods and the time of a step."""
    scores = [score for score in next(iter(answers.values())).scores if score.method == METHOD]
    titles = [f"{score.title} {score.arrow}" for score in scores]
    headings = ["network", "λ", "seeds", "accuracy, %", "L_R", *titles, "gain of all maps, points", "time per step"]
    lines = [line(name, each, scores) for name, answer in answers.items() for each in answer.compared]
    return markdown_table(headings, lines)


def line(network: str, each: PointComparison, scores: Sequence[ScoreColumn]) -> list[str]:
    """Make the row of one point."""
    runs = each.runs
    seconds = [run.estimate("train/seconds_per_step").mean for run in (runs, each.baseline)]
    gained = "" if each.is_baseline else in_points(each.gain)
    return [
        network,
        f"{runs.point[WEIGHT]:g}",
        str(len(runs.rows)),
        percent(runs.estimate("test/accuracy")),
        shown(runs.estimate("test/loss_regularizer"), digits=3),
        *(percent(runs.estimate(score.column)) for score in scores),
        gained,
        f"{seconds[0] / seconds[1]:.1f} ×",
    ]


def gain(each: PointComparison, score: ScoreColumn) -> Estimate:
    """Estimate the gain of one score, seed by seed; its sign makes more better."""
    differences = []
    for seed in each.runs.rows.keys() & each.baseline.rows.keys():
        mine, theirs = (number(runs.rows[seed], score.column) for runs in (each.runs, each.baseline))
        if mine is not None and theirs is not None:
            differences.append(score.direction * (mine - theirs))
    return Estimate.of(differences)


def in_points(difference: Estimate) -> str:
    """Show a difference of fractions in percentage points, with its interval."""
    low, high = (signed_points(bound, 1) for bound in bounds(difference))
    return f"{signed_points(difference.mean, 1)} ({low} to {high})"


def bounds(estimate: Estimate) -> tuple[float, float]:
    """Return the 95 % interval, which is unbounded for a single value."""
    return estimate.interval or (-float("inf"), float("inf"))


if __name__ == "__main__":
    main()
