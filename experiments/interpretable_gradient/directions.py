"""Measures whether the input gradients of different images point in one direction.

    python -m experiments.interpretable_gradient.directions BOARD

The interpretable gradient loss falls if gradients follow the guided gradients. It also falls if all gradients are the
same, which says nothing about an image. The trained networks are those of study.py; results are in
`<board>/directions.csv`, where a row whose network is not here stays as it is.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from camtrain import load_data, load_network
from camtrain.gradients import guided_gradient
from experiments.interpretable_gradient.recipes import BOARDS, recipes
from experiments.result_rows import read_rows, write_rows

HERE = Path(__file__).parent
COLUMNS = ("recipe", "weight", "seed", "agreement", "one_direction", "one_guided_direction")


def results(board: str) -> Path:
    """The file of a board's results."""
    return HERE / board / "directions.csv"


def main() -> None:
    """Parse the words, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("board", choices=BOARDS)
    measure(parser.parse_args().board)


def measure(name: str) -> None:
    """Measure every network of a board that was trained, and write the results."""
    board, order = BOARDS[name], [*recipes(name)]
    rows = {_key(row, order): row for row in read_rows(results(name), COLUMNS)}
    for recipe in order:
        for trial in sorted((board.runs / board.name / recipe).glob("weight_*/**/trials/*/")):
            if (trial / "row.json").is_file():
                # Such as regularizer_weight=0.3,seed=0-aaf4ffaa.
                weight, seed = (part.partition("=")[2].partition("-")[0] for part in trial.name.split(","))
                row = dict(zip(COLUMNS, (recipe, weight, seed, *of_run(trial)), strict=True))
                rows[_key(row, order)] = row
                print(*row.values(), sep="  ", flush=True)
    write_rows(results(name), COLUMNS, [rows[key] for key in sorted(rows)])


def _key(row: Mapping[str, str], order: list[str]) -> tuple[int, float, int]:
    return order.index(row["recipe"]), float(row["weight"]), int(row["seed"])


def of_run(run: Path) -> tuple[str, ...]:
    """Measure a network on all test images.

    Args:
        run: The folder of a run.

    Returns:
        The mean cosine of the gradient of L_C and its guided gradient, and how far all gradients, and all guided ones,
        point in one direction: the length of the mean of their unit vectors. 1 is one direction.
    """
    network, data = load_network(run, device="cpu").network.eval(), load_data(run)
    data.setup("test")
    found = [gradients(network, batch.images, batch.labels) for batch in data.test_dataloader()]
    plain, guided = (torch.cat(parts) for parts in zip(*found, strict=True))
    agreement = (plain * guided).sum(dim=1).mean()
    return tuple(f"{float(value):.4f}" for value in (agreement, plain.mean(0).norm(), guided.mean(0).norm()))


def gradients(network: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient of L_C at each image and its guided gradient, as unit vectors (N, C·H·W)."""
    images = images.clone().requires_grad_()
    loss = F.cross_entropy(network(images), labels, reduction="sum")
    plain = torch.autograd.grad(loss, images, retain_graph=True)[0]
    return F.normalize(plain.flatten(1)), F.normalize(guided_gradient(loss, images).flatten(1))


if __name__ == "__main__":
    main()
