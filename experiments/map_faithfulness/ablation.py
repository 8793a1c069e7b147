"""Trains one variant of MapFaithfulness on one board of the league, and scores it with all seeds.

    python -m experiments.map_faithfulness.ablation BOARD VARIANT [--seeds 0 1 2]
    python -m experiments.map_faithfulness.ablation BOARD --list

Each variant changes one thing (`robustness` and `differentiable_all_swapped` two) of a training whose second half is
regularized, the former default.
Scored are validation images, since defaults are chosen by what is found here, and the league quotes test images.
Results are in `<board>/<variant>.csv`; what is there is not made again, and a training that was stopped goes on.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments.league.boards import BOARDS as LEAGUE
from experiments.league.settings import PLAIN, regularized
from experiments.named_settings import Board, Setting, SettingRows, scored

HERE = Path(__file__).parent
WEIGHT = 0.5
BASE = "map_faithfulness_half_time"  # what the variants change; the league has trained it under the same name
# A training that ends far from convergence, where a penalty can cost more than in a long one.
SHORT = replace(
    LEAGUE["resnet20"],
    name="resnet20_short",
    title="CIFAR-100, 8 classes, ResNet-20, 8 epochs",
    changes={**LEAGUE["resnet20"].changes, "trainer.max_epochs": 8},
)
BOARDS = {**LEAGUE, SHORT.name: SHORT}
# The variants that differ in when the term begins, which are all that the short training compares.
SCHEDULES = (PLAIN.name, BASE, "map_faithfulness", "ramp")


def variants(epochs: float) -> list[Setting]:
    """The variants, in the order in which they are run.

    Args:
        epochs: The length of a training.
    """

    def variant(
        name: str, title: str, weight: float = WEIGHT, changes: dict[str, Any] | None = None, **settings: Any
    ) -> Setting:
        """A variant of the regularizer, which changes its arguments or other keys of the configuration."""
        begun = {**regularized("MapFaithfulness", **settings), "model.regularizer_start_epoch": epochs / 2}
        return Setting(name, {**begun, **(changes or {})}, (weight,), title)

    return [
        PLAIN,
        variant(BASE, "base: from half-time on, half of the sufficiency term's maps swapped"),
        Setting("map_faithfulness", regularized("MapFaithfulness"), (WEIGHT,), "from the start on"),
        variant(
            "ramp",
            "λ rises over the first half",
            changes={"model.regularizer_start_epoch": 0.0, "model.regularizer_warmup_epochs": epochs / 2},
        ),
        variant("not_swapped", "no map swapped", swapped=0.0),
        variant("all_swapped", "all maps of the sufficiency term swapped", swapped=1.0),
        variant("sufficiency", "the sufficiency term alone", necessity_weight=0.0),
        variant("necessity", "the necessity term alone", sufficiency_weight=0.0),
        variant("robustness", "other images' maps alone: robustness to masks", necessity_weight=0.0, swapped=1.0),
        variant("prediction", "the prediction on the whole image is the target", sufficiency_target="prediction"),
        variant("weight_1", "λ doubled", weight=1.0),
        variant("every_4", "every 4th step", changes={"model.regularizer_every_n_steps": 4}),
        variant("differentiable", "the gradient runs through the map", differentiable=True),
        variant(
            "differentiable_all_swapped",
            "the gradient runs through the map, all maps of the sufficiency term swapped",
            differentiable=True,
            swapped=1.0,
        ),
        variant("thresholds", "thresholds alone, no soft masks", soft_masks=0.0),
        variant("soft_masks", "soft masks alone, no thresholds", soft_masks=1.0),
        variant("zeros", "zeros alone behind the map", blurred_backgrounds=0.0),
        variant("blurred", "the blurred image alone behind the map", blurred_backgrounds=1.0),
        variant("layer_cam", "LayerCAM is trained", method="layer_cam"),
    ]


def board_of(name: str) -> Board:
    """A board, whose validation images are scored as the league scores test images.

    The short training is scored as the league scores images when it chooses λ: its question is about accuracy.
    """
    board = BOARDS[name]
    return board if name == SHORT.name else replace(board, validation=replace(board.test, split="val"))


def variants_of(board: Board) -> dict[str, Setting]:
    """The variants on a board, by name."""
    epochs = board.config_of(PLAIN)["trainer"]["max_epochs"]
    return {each.name: each for each in variants(epochs) if board.name != SHORT.name or each.name in SCHEDULES}


def main() -> None:
    """Parse the words, and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("board", choices=BOARDS)
    parser.add_argument("variant", nargs="?", help="one of those that --list prints")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--list", action="store_true", help="print the names of the variants, and end")
    arguments = parser.parse_args()
    board = board_of(arguments.board)
    known = variants_of(board)
    if arguments.list:
        print("\n".join(known))
    elif arguments.variant not in known:
        parser.error(f"variant: expected one of {', '.join(known)}, got {arguments.variant}")
    else:
        setting = known[arguments.variant]
        rows = SettingRows(HERE / board.name / f"{setting.name}.csv")
        scored(board, setting, rows, "val", setting.weights, arguments.seeds)


if __name__ == "__main__":
    main()
