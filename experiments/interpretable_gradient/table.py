"""Writes the tables of this folder's README, and the figure.

    python -m experiments.interpretable_gradient.table

It reads `results/<recipe>.csv` and `directions.csv`, which are committed.
"""

from __future__ import annotations

from pathlib import Path

from camtrain.report.points import Estimate, number
from camtrain.report.tables import percent, shown
from experiments.compared_settings import Compared, beyond_table, change, compared_settings, step_cost
from experiments.interpretable_gradient.directions import RESULTS as DIRECTIONS
from experiments.interpretable_gradient.recipes import RECIPES
from experiments.interpretable_gradient.study import rows_of
from experiments.interval_figure import Panel, write_intervals
from experiments.readme_tables import markdown_table, put_texts
from experiments.result_rows import read_rows

HERE = Path(__file__).parent
MARKER = "{} of experiments/interpretable_gradient"
L_R = "test/loss_regularizer"
AGREEMENT = "evaluated/guided_agreement"
CAMS = ["grad_cam", "layer_cam"]
PLAIN = "running"  # whose λ = 0 is plain training with BatchNorm


def main() -> None:
    """Write between the marker lines of the README, and draw."""
    texts = readme_texts()
    put_texts(texts, HERE / "README.md")
    write_changes(HERE / "recipes")
    print("\n\n".join(texts.values()))


def readme_texts() -> dict[str, str]:
    """Make a table for each recipe that has results, and one of the two terms together."""
    texts = {}
    for name, recipe in RECIPES.items():
        found = compared_settings({recipe: rows_of(name)}) if len(recipe.weights) > 1 else []
        if found:
            texts[name] = recipe_table(found)
        if len(found) > 1:
            texts[f"{name}: CAMs beyond control"] = beyond_table(found, CAMS)
            texts[f"{name}: input gradient beyond control"] = beyond_table(found, ["input_gradient"])
    together = [name for name, recipe in RECIPES.items() if len(recipe.weights) == 1]
    results = {RECIPES[name]: rows_of(name) for name in (PLAIN, *together)}
    found = [each for each in compared_settings(results) if each.setting.name != PLAIN or not each.weight]
    if len(found) > 1:
        texts["beside MapFaithfulness"] = recipe_table(found)
    if DIRECTIONS.is_file():
        texts["directions"] = directions_table()
    return {MARKER.format(name): text for name, text in texts.items()}


def write_changes(path: Path) -> None:
    """Draw what each recipe does to L_R in evaluation mode, to maps and to accuracy, against its own λ = 0."""
    panels = of_loss, gain, accuracy = (
        Panel("L_R in\nevaluation mode", "change against λ = 0", scale=1),
        # A scale for each: accuracies that are lost are ten times as large as gains.
        Panel("gain of maps\nbeyond control", "points against λ = 0"),
        Panel("accuracy", "points of accuracy"),
    )
    rows = {}
    for name, recipe in RECIPES.items():
        for each in compared_settings({recipe: rows_of(name)})[1:] if len(recipe.weights) > 1 else []:
            rows[f"{recipe}, λ = {each.weight:g}"] = {
                of_loss: {"": loss_change(each)},
                gain: {"": each.against.beyond},
                accuracy: {"": each.against.accuracy},
            }
    write_intervals(rows, panels, path)


def loss_change(each: Compared) -> Estimate:
    """How much lower or higher L_R of test images is than with λ = 0, seed by seed."""
    mine, plain = each.runs.rows, each.against.baseline.rows
    pairs = [(number(mine[seed], L_R), number(plain[seed], L_R)) for seed in sorted(mine.keys() & plain.keys())]
    return Estimate.of([a - b for a, b in pairs if a is not None and b is not None])


def recipe_table(compared: list[Compared]) -> str:
    """What each λ does to accuracy, to L_R in evaluation mode, and to maps."""
    headings = ["", "seeds", "accuracy, %", "change of accuracy", "L_R in evaluation mode", "guided agreement, %"]
    headings += ["gain of maps", "gain beyond control", "change of leakage", "time per step"]
    return markdown_table(headings, [_line(each) for each in compared])


def directions_table() -> str:
    """Whether the gradients of all images point in one direction, for each network."""
    headings = ["", "λ", "seed", "1 − L_R of test images", "one direction", "one direction of guided gradients"]
    values = ("weight", "seed", "agreement", "one_direction", "one_guided_direction")
    lines = [[str(RECIPES[row["recipe"]]), *(row[value] for value in values)] for row in read_rows(DIRECTIONS)]
    return markdown_table(headings, lines)


def _line(each: Compared) -> list[str]:
    against = each.against
    name = str(each.setting) if len(each.setting.weights) == 1 else f"λ = {each.weight:g}"
    return [
        name,
        str(len(each.runs.rows)),
        percent(each.runs.estimate(each.accuracy)),
        change(each, against.accuracy),
        shown(each.runs.estimate(L_R), digits=3) if name.startswith("λ") else "",
        percent(each.runs.estimate(AGREEMENT)),
        *(change(each, estimate) for estimate in (against.gain, against.beyond, against.leakage)),
        step_cost(each),
    ]


if __name__ == "__main__":
    main()
