"""All boards at a glance, to choose from: what each way to train gains and costs on each, as a table and a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from camtrain.regularizers import MapFaithfulness
from camtrain.report.points import Estimate
from experiments.compared_settings import (
    Compared,
    change,
    gains_without_boxes,
    step_cost,
)
from experiments.interval_figure import Panel, write_intervals
from experiments.league.boards import BOARDS
from experiments.readme_tables import markdown_table

# Settings that were also scored with the λ of their class, whatever validation chose.
DEFAULTS = {"map_faithfulness": MapFaithfulness.default_weight}
_DEFAULT = ", default λ"


@dataclass(frozen=True)
class Cell:
    """What a way to train does on a board.

    Attributes:
        compared: The setting at its λ, against plain training.
        gain: The gain beyond control, without the scores against boxes.
    """

    compared: Compared
    gain: Estimate

    def __str__(self) -> str:
        """λ, the gain and the change of accuracy, in points."""
        each = self.compared
        weight = f"λ = {each.weight:g}: " if each.weight else ""
        return f"{weight}{change(each, self.gain)}<br>accuracy {change(each, each.against.accuracy)}"

    @property
    def changes(self) -> dict[str, Estimate]:
        """The changes that the figure shows, by their names in its legend."""
        return {"gain of maps beyond control": self.gain, "change of accuracy": self.compared.against.accuracy}


def across_boards(
    boards: Mapping[str, Sequence[Compared]], chosen: Mapping[str, Mapping[str, float | None]]
) -> dict[str, dict[str, Cell]]:
    """What each way to train does on each board, by its title and the name of the board.

    The scores against boxes do not count, so that boards with and without boxes show the same.

    Args:
        boards: The compared settings by the name of their board.
        chosen: The λ that validation chose, by the name of the board and of the setting; `None` if it has not yet.
    """
    rows: dict[str, dict[str, Cell]] = {}
    for board, compared in boards.items():
        without_boxes = gains_without_boxes(compared)
        for each in compared:
            if not each.against.is_baseline:
                cell = Cell(each, without_boxes.get(each, each.against.beyond))
                for title in _titles(each, chosen[board].get(each.setting.name)):
                    rows.setdefault(title, {})[board] = cell
    # The row of the default follows that of the choice, whichever λ is the larger one.
    order = list(dict.fromkeys(title.removesuffix(_DEFAULT) for title in rows))
    titles = sorted(rows, key=lambda title: (order.index(title.removesuffix(_DEFAULT)), title.endswith(_DEFAULT)))
    return {title: rows[title] for title in titles}


def table_across(rows: Mapping[str, Mapping[str, Cell]]) -> str:
    """A row for each way to train, and a column for each board.

    A cell is empty if the way to train was not measured on the board, or not with the λ of the row.
    """
    boards = _boards_in(rows)
    headings = ["", *(BOARDS[board].title for board in boards), "step / plain step"]
    lines = []
    for title, cells in rows.items():
        cost = step_cost(next(iter(cells.values())).compared)
        lines.append([title, *(str(cells.get(board, "")) for board in boards), cost])
    return markdown_table(headings, lines)


def write_across(rows: Mapping[str, Mapping[str, Cell]], path: Path) -> None:
    """Draw what the table says: a line for each way to train, a panel for each board.

    Args:
        rows: What `across_boards` found.
        path: The file without a suffix; only the PNG is kept.
    """
    panels = {board: Panel(BOARDS[board].title.replace(", ", ",\n")) for board in _boards_in(rows)}
    write_intervals(
        {
            title: {panels[board]: cells[board].changes for board in panels if board in cells}
            for title, cells in rows.items()
        },
        [*panels.values()],
        path,
    )


def _boards_in(rows: Mapping[str, Mapping[str, Cell]]) -> list[str]:
    return [board for board in BOARDS if any(board in cells for cells in rows.values())]


def _titles(each: Compared, chosen: float | None) -> list[str]:
    """The rows that a setting with its λ belongs to: that of the chosen λ, that of the default, both or none."""
    has_choice = len(each.setting.weights) > 1
    titles = [str(each.setting)] if not has_choice or each.weight == chosen else []
    if each.weight == DEFAULTS.get(each.setting.name):
        titles.append(f"{each.setting}{_DEFAULT}")
    return titles
