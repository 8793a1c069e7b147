"""Writes the tables of this folder's README, the first rows for the project's, and the figures.

    python -m experiments.league.table

It reads `<board>/<setting>.csv` and `leakage/<board>/<setting>.csv`, which are committed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from experiments.compared_settings import (
    Compared,
    board_tables,
    compared_settings,
    difference_table,
    summary_table,
    write_plane,
)
from experiments.league.across_boards import Cell, across_boards, table_across, write_across
from experiments.league.boards import BOARDS, KINDS
from experiments.league.goals import at_default, goals_table
from experiments.league.league import ALL_SETTINGS, choice, rows_of, settings_of
from experiments.league.leakage import leakage_table
from experiments.readme_tables import PROJECT_README, put_texts

HERE = Path(__file__).parent
IN_PROJECT_README = ("resnet20", "plain", "random_erasing", "map_faithfulness")  # a board and its settings
MARKER = "{} of experiments/league"


def main() -> None:
    """Write between the marker lines of both READMEs, and draw."""
    texts = readme_texts()
    put_texts(texts, HERE / "README.md")
    put_texts(overview(), PROJECT_README)
    if boards := compared_boards():
        write_plane({BOARDS[name].title: found for name, found in boards.items()}, HERE / "plane")
        write_across(cells_of(boards), HERE / "all_boards")
    print("\n\n".join(texts.values()))


def readme_texts() -> dict[str, str]:
    """Make the table of all boards, and the tables of each that has results."""
    boards = compared_boards()
    texts = {"all boards": table_across(cells_of(boards))} if boards else {}
    if boards:
        texts["goals"] = goals_table(boards)
    if leakage := leakage_table():
        texts["leakage"] = leakage
    for name, found in boards.items():
        texts |= {f"{what} of {name}": table for what, table in board_tables(found, KINDS).items()}
        if name == ALL_SETTINGS[0] and (default := at_default(found)) is not None:
            texts[f"difference to the default of {name}"] = difference_table(found, default)
    return {MARKER.format(name): text for name, text in texts.items()}


def cells_of(boards: Mapping[str, Sequence[Compared]]) -> dict[str, dict[str, Cell]]:
    """What each way to train does on each of these boards."""
    chosen = {
        name: {each.setting.name: choice(name, each.setting) for each in found if len(each.setting.weights) > 1}
        for name, found in boards.items()
    }
    return across_boards(boards, chosen)


def compared_boards() -> dict[str, list[Compared]]:
    """The settings of each board that has results."""
    return {name: found for name in BOARDS if len(found := compared(name)) > 1}


def overview() -> dict[str, str]:
    """Make the table of the project's README: the first rows of the first board."""
    rows = [each for each in compared(IN_PROJECT_README[0]) if each.setting.name in IN_PROJECT_README[1:]]
    return {MARKER.format("first rows"): summary_table(rows)} if rows else {}


def compared(board: str) -> list[Compared]:
    """The settings of a board that have results, against plain training."""
    return compared_settings({setting: rows_of(board, setting.name) for setting in settings_of(board)})


if __name__ == "__main__":
    main()
