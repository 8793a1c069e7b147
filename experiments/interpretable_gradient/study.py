"""Trains one recipe of the interpretable gradient loss with every λ and seed, and scores it.

    python -m experiments.interpretable_gradient.study BOARD RECIPE [--seeds 0 1 2] [--weights 0 0.3 1]
    python -m experiments.interpretable_gradient.study BOARD --list

Results are in `<board>/<recipe>.csv`; what is there is not made again, and a training that was stopped goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from experiments.interpretable_gradient.recipes import BOARDS, recipes
from experiments.named_settings import SettingRows, scored

HERE = Path(__file__).parent


def main() -> None:
    """Parse the words, and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("board", choices=BOARDS)
    parser.add_argument("recipe", nargs="?", help="one of those that --list prints")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--weights", type=float, nargs="+", help="some of the recipe's values of λ, instead of all")
    parser.add_argument("--list", action="store_true", help="print the names of the recipes, and end")
    arguments = parser.parse_args()
    known = recipes(arguments.board)
    if arguments.list:
        print("\n".join(known))
    elif arguments.recipe not in known:
        parser.error(f"recipe: expected one of {', '.join(known)}, got {arguments.recipe}")
    else:
        recipe = known[arguments.recipe]
        weights = arguments.weights or recipe.weights
        rows = rows_of(arguments.board, recipe.name)
        scored(BOARDS[arguments.board], recipe, rows, "test", weights, arguments.seeds)


def rows_of(board: str, recipe: str) -> SettingRows:
    """The results of a recipe on a board."""
    return SettingRows(HERE / board / f"{recipe}.csv")


if __name__ == "__main__":
    main()
