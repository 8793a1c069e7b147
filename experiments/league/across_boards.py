"""All boards at a glance, to choose from: what each way to train gains and costs on each, as a table and a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from camtrain.report.figure_style import legend_below, line_style, report_style, write_figure
from camtrain.report.points import Estimate
from experiments.compared_settings import (
    Compared,
    change,
    gains_without_boxes,
    half_interval,
    is_certain,
    step_cost,
)
from experiments.league.boards import BOARDS
from experiments.league.league import chosen_weight, rows_of
from experiments.league.settings import PLAIN
from experiments.readme_tables import markdown_table

# What a regularizer does as it is, beside what validation chooses.
DEFAULTS = {"map_faithfulness": 0.5}


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


def across_boards(
    boards: Mapping[str, Sequence[Compared]], chosen: Mapping[str, Mapping[str, float]]
) -> dict[str, dict[str, Cell]]:
    """What each way to train does on each board, by its title and the name of the board.

    The scores against boxes do not count, so that boards with and without boxes show the same.

    Args:
        boards: The compared settings by the name of their board.
        chosen: The λ that validation chose, by the name of the board and of the setting.
    """
    rows: dict[str, dict[str, Cell]] = {}
    for board, compared in boards.items():
        without_boxes = gains_without_boxes(compared)
        for each in compared:
            if not each.against.is_baseline:
                cell = Cell(each, without_boxes.get(each, each.against.beyond))
                for title in _titles(each, chosen[board].get(each.setting.name)):
                    rows.setdefault(title, {})[board] = cell
    return rows


def chosen_weights(board: str, compared: Sequence[Compared]) -> dict[str, float]:
    """The λ of each setting that has a choice and was tried with all its λ on validation images."""
    plain = rows_of(board, PLAIN.name)
    found = {}
    for setting in dict.fromkeys(each.setting for each in compared if len(each.setting.weights) > 1):
        rows = rows_of(board, setting.name)
        if not rows.missing("val", setting.weights, [0]):
            found[setting.name] = chosen_weight(rows, plain)
    return found


def table_across(rows: Mapping[str, Mapping[str, Cell]]) -> str:
    """A row for each way to train, and a column for each board; a cell is empty if it was not measured there."""
    boards = _boards_in(rows)
    headings = ["", *(BOARDS[board].title for board in boards), "step / plain step"]
    lines = []
    for title, cells in rows.items():
        cost = step_cost(next(iter(cells.values())).compared)
        lines.append([title, *(str(cells.get(board, "")) for board in boards), cost])
    return markdown_table(headings, lines)


def write_across(rows: Mapping[str, Mapping[str, Cell]], path: Path) -> None:
    """Draw the same: a line for each way to train, a panel for each board, a mark with its interval for each change.

    A gain whose interval includes 0 is hollow.

    Args:
        rows: What `across_boards` found.
        path: The file without a suffix; only the PNG is kept.
    """
    boards = _boards_in(rows)
    with report_style():
        figure = Figure(figsize=(2.4 + 2.4 * len(boards), 1.4 + 0.36 * len(rows)), layout="constrained")
        # One scale for all, so that a long interval looks like one.
        panels = figure.subplots(1, len(boards), squeeze=False, sharex=True, sharey=True)[0]
        for axes, board in zip(panels, boards, strict=True):
            _draw_panel(axes, [cells.get(board) for cells in rows.values()])
            axes.set(title=BOARDS[board].title.replace(", ", ",\n"), xlabel="points against plain training")
        panels[0].set_yticks(range(len(rows)), rows)
        panels[0].invert_yaxis()
        marks = {line.get_label(): line for axes in panels for line in axes.get_lines() if line.get_label()[0] != "_"}
        legend_below(figure, [*marks.values()], [*marks])
        write_figure(figure, path)[1].unlink()


def _draw_panel(axes: Axes, cells: Sequence[Cell | None]) -> None:
    axes.axvline(0, color="#888888", linewidth=1.2)
    axes.grid(visible=True, axis="both")
    for height, cell in enumerate(cells):
        if cell is None:
            continue
        changes = {"gain of maps beyond control": cell.gain, "change of accuracy": cell.compared.against.accuracy}
        for number, (label, estimate) in enumerate(changes.items()):
            style = line_style(number) | {"linestyle": "none"}
            filled = style["color"] if is_certain(estimate, digits=1) else "white"
            at = (100 * estimate.mean, height + 0.3 * number - 0.15)
            axes.errorbar(*at, xerr=half_interval(estimate), capsize=2, markerfacecolor=filled, **style)
            # What the legend shows, which is the mark of a change that is certain.
            axes.plot([], [], label=label, **style)


def _boards_in(rows: Mapping[str, Mapping[str, Cell]]) -> list[str]:
    return [board for board in BOARDS if any(board in cells for cells in rows.values())]


def _titles(each: Compared, chosen: float | None) -> list[str]:
    """The rows that a setting with its λ belongs to: that of the chosen λ, that of the default, both or none."""
    has_choice = len(each.setting.weights) > 1
    titles = [str(each.setting)] if not has_choice or each.weight == chosen else []
    if each.weight == DEFAULTS.get(each.setting.name):
        titles.append(f"{each.setting}, default λ")
    return titles
