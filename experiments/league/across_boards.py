"""One table of all boards to choose from: what each way to train gains and costs on each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from experiments.compared_settings import Compared, change, gains_without_boxes, step_cost
from experiments.league.boards import BOARDS
from experiments.league.league import chosen_weight, rows_of
from experiments.league.settings import PLAIN
from experiments.readme_tables import markdown_table

# What a regularizer does as it is, beside what validation chooses.
DEFAULTS = {"map_faithfulness": 0.5}


def across_boards(boards: Mapping[str, Sequence[Compared]], chosen: Mapping[str, Mapping[str, float]]) -> str:
    """A row for each setting, and a column for each board with the gain beyond control and the change of accuracy.

    The gain is without the scores against boxes, so that boards with and without boxes show the same. A cell begins
    with λ if there is a choice; it is empty if the setting was not measured there.

    Args:
        boards: The compared settings by the name of their board.
        chosen: The λ that validation chose, by the name of the board and of the setting.
    """
    rows: dict[str, dict[str, str]] = {}
    costs = {}
    for board, compared in boards.items():
        without_boxes = gains_without_boxes(compared)
        for each in compared:
            if each.against.is_baseline:
                continue
            cell = _cell(each, without_boxes.get(each) or change(each, each.against.beyond))
            for title in _titles(each, chosen[board].get(each.setting.name)):
                rows.setdefault(title, {})[board] = cell
                costs[title] = step_cost(each)
    headings = ["", *(BOARDS[board].title for board in boards), "step / plain step"]
    return markdown_table(
        headings, [[title, *(cells.get(board, "") for board in boards), costs[title]] for title, cells in rows.items()]
    )


def chosen_weights(board: str, compared: Sequence[Compared]) -> dict[str, float]:
    """The λ of each setting that has a choice and was tried with all its λ on validation images."""
    plain = rows_of(board, PLAIN.name)
    found = {}
    for setting in dict.fromkeys(each.setting for each in compared if len(each.setting.weights) > 1):
        rows = rows_of(board, setting.name)
        if not rows.missing("val", setting.weights, [0]):
            found[setting.name] = chosen_weight(rows, plain)
    return found


def _titles(each: Compared, chosen: float | None) -> list[str]:
    """The rows that a setting with its λ belongs to: that of the chosen λ, that of the default, both or none."""
    has_choice = len(each.setting.weights) > 1
    titles = [str(each.setting)] if not has_choice or each.weight == chosen else []
    if each.weight == DEFAULTS.get(each.setting.name):
        titles.append(f"{each.setting}, the default λ")
    return titles


def _cell(each: Compared, gain: str) -> str:
    weight = f"λ = {each.weight:g}: " if each.weight else ""
    return f"{weight}{gain}<br>accuracy {change(each, each.against.accuracy)}"
