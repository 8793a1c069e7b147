"""Trains one setting of the league on one board: chooses its λ by validation, and scores it with all seeds.

    python -m experiments.league.league BOARD SETTING [--seeds 0 1 2] [--weight 0.5]
    python -m experiments.league.league BOARD --list [--everything]

Results are in `<board>/<setting>.csv`; what is there is not made again, and a training that was stopped goes on. The
setting `plain` comes first, since λ is chosen against it.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Sequence
from pathlib import Path

from camtrain.report.answer import Rule, answered
from camtrain.report.points import WEIGHT, PointRuns
from experiments.league.boards import BOARDS
from experiments.league.settings import PLAIN, WITH_MASKS, WITHOUT_ANNOTATION, half_time
from experiments.named_settings import Board, Setting, SettingRows, scored

HERE = Path(__file__).parent
# The fraction of validation accuracy that a λ may cost: about the standard error of the difference of two accuracies on
# the 400 validation images of CIFAR-100's classes.
MARGIN = 0.02
MASKED = ("pets", "digits")
CHOOSING_SEEDS = (0,)
# All settings are compared on the first board, and on that for a GPU. The others ask whether what was found there, a
# gain or none, holds for other networks and data.
ALL_SETTINGS = ("resnet20", "resnet18")
ON_OTHER_BOARDS = (
    PLAIN.name,
    "random_erasing",
    "cutmix",
    "map_faithfulness",
    "attention_mining",
    "energy_inside",
    "map_faithfulness_energy_inside",
    "map_outside",
    "right_for_right_reasons",
)


@functools.cache  # a setting is the same as another one only if it is that object
def settings_of(board: str) -> tuple[Setting, ...]:
    """The settings that can be compared on a board, in the order in which they are run."""
    epochs = BOARDS[board].config_of(PLAIN)["trainer"]["max_epochs"]
    return (*WITHOUT_ANNOTATION, half_time(epochs), *(WITH_MASKS if board in MASKED else []))


def planned(board: str, everything: bool = False) -> list[Setting]:
    """The settings that are compared on a board: all of them, or the few that are also compared beyond the first."""
    every = everything or board in ALL_SETTINGS
    return [setting for setting in settings_of(board) if every or setting.name in ON_OTHER_BOARDS]


def rows_of(board: str, setting: str) -> SettingRows:
    """The results of a setting."""
    return SettingRows(HERE / board / f"{setting}.csv")


def play(board: Board, setting: Setting, seeds: list[int], weight: float | None = None) -> None:
    """Choose λ by validation, and score the setting on test images; a λ that is given is scored beside it."""
    rows = rows_of(board.name, setting.name)
    if weight is None:
        scored(board, setting, rows, "val", setting.weights, CHOOSING_SEEDS)
        several = len(setting.weights) > 1
        weight = chosen_weight(rows, rows_of(board.name, PLAIN.name)) if several else setting.weights[0]
    print(f"{board.name}, {setting.name}: λ = {weight:g}", flush=True)
    scored(board, setting, rows, "test", [weight], seeds)


def chosen_weight(rows: SettingRows, plain: SettingRows) -> float:
    """Choose the λ whose maps gain most beyond control, on validation images, among those that keep accuracy.

    A λ whose maps leak too much is left out. If none is left, or none gains, it is the λ with the highest validation
    accuracy.

    Raises:
        SystemExit: If the plain network has no scores of validation yet.
    """
    baseline = PointRuns({WEIGHT: 0.0}, {}, plain.of("val", 0.0))
    if not baseline.rows:
        raise SystemExit(f"run the setting {PLAIN.name} first: λ is chosen against it")
    points = [PointRuns({WEIGHT: weight}, {}, rows.of("val", weight)) for weight in rows.weights("val")]
    rule = Rule(margin=MARGIN)
    compared = [each for each in answered([baseline, *points], rule, split="val").compared if not each.is_baseline]
    kept = [each for each in compared if each.keeps_accuracy(rule.margin) and each.keeps_leakage(rule.leakage_margin)]
    best = max((each for each in kept if each.beyond.mean > 0), key=lambda each: each.beyond.mean, default=None)
    if best is None:
        best = max(compared, key=lambda each: each.accuracy.mean)
    return float(best.runs.point[WEIGHT])


def choice(board: str, setting: Setting) -> float | None:
    """The λ that validation chose, or `None` if not all values were tried yet.

    Raises:
        SystemExit: If the plain network has no scores of validation yet.
    """
    rows = rows_of(board, setting.name)
    if rows.missing("val", setting.weights, CHOOSING_SEEDS):
        return None
    return chosen_weight(rows, rows_of(board, PLAIN.name))


def listed(board: Board, settings: Sequence[Setting], seeds: list[int]) -> None:
    """Print what a board would train."""
    trainings = 0
    for setting in settings:
        # The chosen λ is trained already with the seed that chose it.
        count = len(setting.weights) + len(set(seeds) - set(CHOOSING_SEEDS))
        trainings += count
        print(f"{setting.name:26}{count:3} trainings, λ in {', '.join(f'{weight:g}' for weight in setting.weights)}")
    epochs = board.config_of(PLAIN)["trainer"]["max_epochs"]
    print(f"{board.title}: {trainings} trainings of {epochs} epochs")


def main() -> None:
    """Parse the words, and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("board", choices=BOARDS)
    parser.add_argument("setting", nargs="?", help="one of those that --list prints")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--weight", type=float, help="score this λ, such as the default, instead of the chosen one")
    parser.add_argument("--list", action="store_true", help="print what would be trained, and end")
    parser.add_argument("--names", action="store_true", help="print the names of the settings, and end")
    parser.add_argument("--everything", action="store_true", help="with --list or --names: all that are possible")
    arguments = parser.parse_args()
    board = BOARDS[arguments.board]
    if arguments.list:
        listed(board, planned(board.name, arguments.everything), arguments.seeds)
        return
    if arguments.names:
        print("\n".join(setting.name for setting in planned(board.name, arguments.everything)))
        return
    settings = {setting.name: setting for setting in settings_of(board.name)}
    if arguments.setting not in settings:
        parser.error(f"setting: expected one of {', '.join(settings)}, got {arguments.setting}")
    play(board, settings[arguments.setting], arguments.seeds, arguments.weight)


if __name__ == "__main__":
    main()
