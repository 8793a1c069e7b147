"""Writes the tables of this folder's README, and the figure.

    python -m experiments.interpretable_gradient.table

It reads `<board>/<recipe>.csv` and `<board>/directions.csv`, which are committed.
"""

from __future__ import annotations

from pathlib import Path

from camtrain.report.points import Estimate, number
from camtrain.report.tables import percent, shown
from experiments.compared_settings import (
    Compared,
    beyond_table,
    change,
    compared_settings,
    difference_table,
    step_cost,
)
from experiments.interpretable_gradient.directions import results as directions_of
from experiments.interpretable_gradient.recipes import BOARDS, recipes
from experiments.interpretable_gradient.study import rows_of
from experiments.interval_figure import Panel, write_intervals
from experiments.readme_tables import markdown_table, put_texts
from experiments.result_rows import read_rows

HERE = Path(__file__).parent
MARKER = "{} of experiments/interpretable_gradient"
L_R = "test/loss_regularizer"
L_R_BESIDE = f"{L_R}/interpretable_gradient"
AGREEMENT = "evaluated/guided_agreement"
CAMS = ["grad_cam", "layer_cam"]
ALONE = "map_faithfulness"
PLAIN = "running"  # whose λ = 0 is plain training with BatchNorm


def main() -> None:
    """Write between the marker lines of the README, and draw."""
    texts = readme_texts()
    put_texts(texts, HERE / "README.md")
    for board in BOARDS:
        if any(found[1:] for found in compared(board).values()):
            write_changes(board, HERE / board / "recipes")
    print("\n\n".join(texts.values()))


def readme_texts() -> dict[str, str]:
    """Make the tables of each board that has results."""
    return {MARKER.format(f"{name} of {board}"): text for board in BOARDS for name, text in board_texts(board).items()}


def board_texts(board: str) -> dict[str, str]:
    """A table for each recipe that has results, and one of the two terms together."""
    texts = {}
    for name, found in compared(board).items():
        if found:
            texts[name] = recipe_table(found)
        if len(found) > 1:
            texts[f"{name}: CAMs beyond control"] = beyond_table(found, CAMS)
            texts[f"{name}: input gradient beyond control"] = beyond_table(found, ["input_gradient"])
    if networks := network_table(board):
        texts["without the loss"] = networks
    together = compared_together(board)
    if len(together) > 2:
        texts["beside MapFaithfulness"] = recipe_table(together)
        texts["beside MapFaithfulness: CAMs beyond control"] = beyond_table(together, CAMS)
        if together[1].setting.name == ALONE:
            texts["beside MapFaithfulness: difference to it alone"] = difference_table(together, together[1])
    if directions_of(board).is_file():
        texts["directions"] = directions_table(board)
    return texts


def compared(board: str) -> dict[str, list[Compared]]:
    """Each recipe that has several λ, each λ against 0."""
    some = {name: recipe for name, recipe in recipes(board).items() if len(recipe.weights) > 1}
    return {name: compared_settings({recipe: rows_of(board, name)}) for name, recipe in some.items()}


def network_table(board: str) -> str:
    """What GroupNorm does to plain training; empty as long as it was not trained."""
    known = recipes(board)
    found = compared_settings({known[name]: rows_of(board, name) for name in (PLAIN, "group_norm")})
    headings = ["λ = 0", "seeds", "accuracy, %", "change of accuracy", "gain of maps", "gain beyond control"]
    lines = [
        [
            {PLAIN: "BatchNorm"}.get(each.setting.name, str(each.setting)),
            str(len(each.runs.rows)),
            percent(each.runs.estimate(each.accuracy)),
            *(change(each, of) for of in (each.against.accuracy, each.against.gain, each.against.beyond)),
        ]
        for each in found
        if not each.weight
    ]
    return markdown_table(headings, lines) if len(lines) > 1 else ""


def compared_together(board: str) -> list[Compared]:
    """MapFaithfulness alone and the two terms together, against plain training."""
    known = recipes(board)
    names = [PLAIN, *(name for name, recipe in known.items() if len(recipe.weights) == 1)]
    found = compared_settings({known[name]: rows_of(board, name) for name in names})
    return [each for each in found if each.setting.name != PLAIN or not each.weight]


def write_changes(board: str, path: Path) -> None:
    """Draw what each recipe does to L_R in evaluation mode, to maps and to accuracy, against its own λ = 0."""
    panels = of_loss, gain, accuracy = (
        Panel("L_R in\nevaluation mode", "change against λ = 0", scale=1),
        # A scale for each: accuracies that are lost are ten times as large as gains.
        Panel("gain of maps\nbeyond control", "points against λ = 0"),
        Panel("accuracy", "points of accuracy"),
    )
    rows = {
        each.label: {
            of_loss: {"": loss_change(each)},
            gain: {"": each.against.beyond},
            accuracy: {"": each.against.accuracy},
        }
        for found in compared(board).values()
        for each in found[1:]
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


def directions_table(board: str) -> str:
    """Whether the gradients of all images point in one direction, for each network."""
    headings = ["", "λ", "seed", "1 − L_R of test images", "one direction", "one direction of guided gradients"]
    values = ("weight", "seed", "agreement", "one_direction", "one_guided_direction")
    known, rows = recipes(board), read_rows(directions_of(board))
    lines = [[str(known[row["recipe"]]), *(row[value] for value in values)] for row in rows]
    return markdown_table(headings, lines)


def _line(each: Compared) -> list[str]:
    against = each.against
    name = str(each.setting) if len(each.setting.weights) == 1 else f"λ = {each.weight:g}"
    return [
        name,
        str(len(each.runs.rows)),
        percent(each.runs.estimate(each.accuracy)),
        change(each, against.accuracy),
        shown(each.runs.estimate(_loss_column(each)), digits=3) if _loss_column(each) else "",
        percent(each.runs.estimate(AGREEMENT)),
        *(change(each, estimate) for estimate in (against.gain, against.beyond, against.leakage)),
        step_cost(each),
    ]


def _loss_column(each: Compared) -> str:
    """Where L_R is; empty for MapFaithfulness alone, whose L_R is another one."""
    if each.runs.estimate(L_R_BESIDE).count:
        return L_R_BESIDE
    return L_R if len(each.setting.weights) > 1 else ""


if __name__ == "__main__":
    main()
