"""The league as a page: a row for each way to train that was measured."""

from __future__ import annotations

import re
from collections.abc import Mapping

import yaml

from docs.generator.links import ROOT
from experiments.compared_settings import WITHOUT_BOXES, Compared, board_tables, change, gains_without_boxes, step_cost
from experiments.league.across_boards import table_across
from experiments.league.boards import BOARDS, KINDS
from experiments.league.table import cells_of, compared_boards
from experiments.named_settings import Board
from experiments.readme_tables import markdown_table

_INTRODUCTION = """# Benchmark

What a regularizer gains and what it costs, against plain training: same network, data, epochs and seeds, one thing
changed. λ is chosen on validation images, and other values are shown beside it; all scores are of test images. The
numbers come from the committed results of the [league](experiments/league.md), the experiment in which regularizers
are compared with plain training; its page says how to read each column. The first section has all of its *boards*, a
board being one network on one data set; each of the others has one. A regularizer without a row was not measured on
that board.

- *Gain of maps*: mean change of all scores of all methods, in percentage points; more is better.
- *Beyond control*: the same after the score of another image's map is subtracted. *Without boxes*: without the scores
  that compare maps with boxes, since a map on the object is not a more faithful map.
- *Leakage*: how far the shape of a map gives the class away; less is better.
- *Step / plain* is the time of a training step relative to a plain step, as
  [regularizer_cost](experiments/regularizer_cost.md) measured it side by side. *Seconds per step* and *memory*, the
  largest of the training process, are those that the runs logged, with whatever else ran on their machine.
- Intervals are 95 % intervals over the seeds; bold ones exclude 0, and a bound that is shown as 0 counts as 0. A dash
  means: not measured.
"""
_ALL_BOARDS = """## All boards

The gain beyond control, without the scores against boxes, and the change of accuracy, with λ as validation chose it;
what `MapFaithfulness` does with its default λ has a row of its own. A cell is empty if this was not measured, or if no
λ was chosen yet. Leakage is in the tables of the boards.
"""


def benchmark_page() -> str:
    """All boards with results."""
    boards = compared_boards()
    sections = [_unbroken(_board(BOARDS[name], found)) for name, found in boards.items()]
    return "\n\n".join([_INTRODUCTION, _ALL_BOARDS, _unbroken(table_across(cells_of(boards))), *sections]) + "\n"


def _unbroken(section: str) -> str:
    """A section whose numbers stand in one line with their intervals."""
    return re.sub(r" (?=\(|± |%|to [+−\d])|(?<=±) |(?<=\d to) ", "\xa0", section)


def _board(board: Board, found: list[Compared]) -> str:
    epochs = _epochs(board)
    without_boxes = gains_without_boxes(found)
    rows = [_row(each, epochs, [change(each, without_boxes[each]) or "–"] if without_boxes else []) for each in found]
    tables = board_tables(found, KINDS)
    headings = [
        "training",
        "λ",
        "seeds",
        "epochs",
        "accuracy",
        "gain of maps",
        "gain beyond control",
        *([WITHOUT_BOXES] if without_boxes else []),
        "leakage",
        "step / plain",
        "seconds per step",
        "memory",
    ]
    texts = [
        f"## {board.title}",
        markdown_table(headings, rows),
        f"Command of every row:\n\n```\nBOARDS={board.name} bash experiments/league/run.sh\n```",
        "### Scores in percent",
        *_of_each_kind(tables, "scores of {}"),
        "### How much better than plain training, beyond control",
        *_of_each_kind(tables, "{} beyond control"),
    ]
    return "\n\n".join(texts)


def _of_each_kind(tables: Mapping[str, str], name: str) -> list[str]:
    """The tables of a board with one name, each below the methods that it is of."""
    titles = [
        "Grad-CAM, which was trained:",
        "Grad-CAM++, LayerCAM and Ablation-CAM, which were not trained but use the same layer, averaged:",
        "The gradient at the input, which uses no layer:",
    ]
    return [text for kind, title in zip(KINDS, titles, strict=True) for text in (title, tables[name.format(kind)])]


def _row(each: Compared, epochs: str, without_boxes: list[str]) -> list[str]:
    gain, beyond, leakage = (
        change(each, estimate) or "–" for estimate in (each.against.gain, each.against.beyond, each.against.leakage)
    )
    return [
        str(each.setting),
        f"{each.weight:g}" if each.weight else "–",
        str(len(each.runs.rows)),
        epochs,
        f"{100 * each.runs.estimate(each.accuracy).mean:.1f} %",
        *(gain, beyond, *without_boxes, leakage),
        step_cost(each),
        _logged(each, "train/seconds_per_step", "{:.3f}"),
        _logged(each, "train/peak_memory_mib", "{:.0f} MiB"),
    ]


def _logged(each: Compared, column: str, form: str) -> str:
    estimate = each.runs.estimate(column)
    return form.format(estimate.mean) if estimate.count else "–"


def _epochs(board: Board) -> str:
    config = yaml.safe_load((ROOT / board.config).read_text(encoding="utf-8"))
    return str(config["trainer"]["max_epochs"])
