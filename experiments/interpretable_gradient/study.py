"""Trains one recipe of the interpretable gradient loss with every λ and seed, and scores it.

    python -m experiments.interpretable_gradient.study RECIPE [--seeds 0 1 2] [--weights 0 0.3 1]
    python -m experiments.interpretable_gradient.study --list

Results are in `results/<recipe>.csv`; what is there is not made again, and a training that was stopped goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from experiments.interpretable_gradient.recipes import BOARD, RECIPES
from experiments.named_settings import SettingRows, scored

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Parse the words, and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", nargs="?", choices=RECIPES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--weights", type=float, nargs="+", help="some of the recipe's values of λ, instead of all")
    parser.add_argument("--list", action="store_true", help="print the names of the recipes, and end")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(RECIPES))
    elif arguments.recipe is None:
        parser.error("recipe: expected one of those that --list prints, got none")
    else:
        recipe = RECIPES[arguments.recipe]
        weights = arguments.weights or recipe.weights
        scored(BOARD, recipe, rows_of(recipe.name), "test", weights, arguments.seeds)


def rows_of(recipe: str) -> SettingRows:
    """The results of a recipe."""
    return SettingRows(RESULTS / f"{recipe}.csv")


if __name__ == "__main__":
    main()
