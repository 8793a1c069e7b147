"""Does leakage rise beyond that of another image's map, and does swapping maps keep it low?

    python -m experiments.league.leakage mobilenet_v2 [--settings plain map_faithfulness] [--seeds 0 1 2]

The rows of the league have no such control: in them, another image's map lay over the very image that it is of. This
scores leakage again, of the four CAMs, on images from all over the data set in each part, for plain training,
MapFaithfulness with its default λ, with swapped maps as it is and without, and AttentionMining and
SoftInsertionDeletion with the λ that validation chose, where it has. Networks that
`python -m experiments.league.league` has left in runs/ are taken, and others are trained again. Results are in
`leakage/<board>/<setting>.csv`; what is there is not made again.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from camtrain.evaluation import EvaluationSettings
from camtrain.regularizers import MapFaithfulness
from camtrain.report.points import Estimate
from camtrain.report.tables import percent
from camtrain.study import Row
from experiments.compared_settings import bold
from experiments.league.boards import BOARDS, KINDS
from experiments.league.league import choice, settings_of
from experiments.league.settings import regularized
from experiments.named_settings import Board, Setting, SettingRows, scored
from experiments.readme_tables import markdown_table

HERE = Path(__file__).parent / "leakage"
NOT_SWAPPED = Setting(
    "map_faithfulness_not_swapped",
    regularized("MapFaithfulness", swapped=0.0),
    (MapFaithfulness.default_weight,),
    "MapFaithfulness, no map swapped",
)
# The first one is what the others are compared with.
SETTINGS = ("plain", "map_faithfulness", NOT_SWAPPED.name, "attention_mining", "soft_insertion_deletion")
CAMS = (*KINDS["Grad-CAM"], *KINDS["other CAMs"])
_CONTROL = "shuffled_"


def main() -> None:
    """Score all settings of a board, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("board", choices=BOARDS)
    parser.add_argument("--settings", choices=SETTINGS, nargs="+", default=SETTINGS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    board = with_leakage_alone(BOARDS[arguments.board])
    for setting in (each for each in compared_on(board.name) if each.name in arguments.settings):
        weight = weight_of(board.name, setting)
        if weight is None:
            print(f"left out: λ of {setting} was not chosen on {board.name} yet")
            continue
        scored(board, setting, rows_of(board.name, setting.name), "test", [weight], arguments.seeds)
    print(leakage_table())


def with_leakage_alone(board: Board) -> Board:
    """A board on which maps are scored by their leakage alone."""
    settings = EvaluationSettings()
    return replace(board, test=replace(board.test, methods=CAMS, metrics="map_leakage", settings=settings))


def compared_on(board: str) -> list[Setting]:
    """The settings that are compared, in their order."""
    return sorted(
        (each for each in (*settings_of(board), NOT_SWAPPED) if each.name in SETTINGS),
        key=lambda each: SETTINGS.index(each.name),
    )


def weight_of(board: str, setting: Setting) -> float | None:
    """λ: the default of MapFaithfulness, and otherwise the one that validation chose; `None` if it has not yet."""
    if setting.name == "map_faithfulness":
        return MapFaithfulness.default_weight
    return choice(board, setting) if len(setting.weights) > 1 else setting.weights[0]


def rows_of(board: str, setting: str) -> SettingRows:
    """The leakage of a setting."""
    return SettingRows(HERE / board / f"{setting}.csv")


def leakage_table() -> str:
    """Leakage, that of another image's map, and how the difference changes; empty if nothing was scored."""
    lines = [line for board in BOARDS for line in _lines(board)]
    headings = ["", "seeds", "leakage of Grad-CAM, %", "of another image's, %", "change of Grad-CAM's leakage",
                "change beyond another image's", "the same, mean of the four CAMs"]  # fmt: skip
    return markdown_table(headings, lines) if lines else ""


def _lines(board: str) -> list[list[str]]:
    plain: dict[int, Row] = {}
    lines = []
    for setting in compared_on(board):
        rows = rows_of(board, setting.name)
        for weight in rows.weights("test"):
            of_seeds = rows.of("test", weight)
            if setting.name == SETTINGS[0]:
                plain = of_seeds
            if not plain:
                return []  # nothing to compare with yet
            named = f"{setting}, λ = {weight:g}" if weight else str(setting)
            changes = [] if of_seeds is plain else _changes(plain, of_seeds)
            levels = [
                percent(Estimate.of([leakage(row, [method]) for row in of_seeds.values()]))
                for method in (CAMS[0], f"{_CONTROL}{CAMS[0]}")
            ]
            lines.append([f"{BOARDS[board].title}: {named}", str(len(of_seeds)), *levels, *(changes or [""] * 3)])
    return lines


def _changes(plain: dict[int, Row], mine: dict[int, Row]) -> list[str]:
    """How leakage changes, seed by seed: Grad-CAM's, beyond its control, and that of all CAMs beyond theirs."""
    seeds = sorted(plain.keys() & mine.keys())
    kinds = (lambda row: leakage(row, CAMS[:1]), lambda row: beyond(row, CAMS[:1]), lambda row: beyond(row, CAMS))
    return [bold(Estimate.of([of(mine[seed]) - of(plain[seed]) for seed in seeds]), digits=1) for of in kinds]


def leakage(row: Row, methods: Sequence[str]) -> float:
    """The mean leakage of some methods."""
    return statistics.fmean(float(row[f"evaluated/map_leakage/{method}"]) for method in methods)


def beyond(row: Row, methods: Sequence[str]) -> float:
    """How much more some methods leak than the same methods' maps of another image."""
    return leakage(row, methods) - leakage(row, [f"{_CONTROL}{method}" for method in methods])


if __name__ == "__main__":
    main()
