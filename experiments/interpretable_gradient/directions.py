"""Measures whether the input gradients of different images point in one direction.

    python -m experiments.interpretable_gradient.directions

The interpretable gradient loss falls if gradients follow the guided gradients. It also falls if all gradients are the
same, which says nothing about an image. The trained networks are those of study.py; results are in `directions.csv`,
where a row whose network is not here stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from camtrain import load_data, load_network
from camtrain.gradients import guided_gradient
from experiments.interpretable_gradient.recipes import BOARD, RECIPES
from experiments.result_rows import read_rows, write_rows

RESULTS = Path(__file__).parent / "directions.csv"
COLUMNS = ("recipe", "weight", "seed", "agreement", "one_direction", "one_guided_direction")


def main() -> None:
    """Measure every network that was trained, and write the results."""
    rows = {_key(row): row for row in read_rows(RESULTS, COLUMNS)}
    for recipe in RECIPES:
        for trial in sorted((BOARD.runs / BOARD.name / recipe).glob("weight_*/**/trials/*/")):
            if (trial / "row.json").is_file():
                # Such as regularizer_weight=0.3,seed=0-aaf4ffaa.
                weight, seed = (part.partition("=")[2].partition("-")[0] for part in trial.name.split(","))
                row = dict(zip(COLUMNS, (recipe, weight, seed, *of_run(trial)), strict=True))
                rows[_key(row)] = row
                print(*row.values(), sep="  ", flush=True)
    write_rows(RESULTS, COLUMNS, [rows[key] for key in sorted(rows)])


def _key(row: Mapping[str, str]) -> tuple[int, float, int]:
    return [*RECIPES].index(row["recipe"]), float(row["weight"]), int(row["seed"])


def of_run(run: Path) -> tuple[str, ...]:
    """Measure a network on all test images.

    Args:
        run: The folder of a run.

    Returns:
        The mean cosine of the gradient of L_C and its guided gradient, and how far all gradients, and all guided ones,
        point in one direction: the length of the mean of their unit vectors. 1 is one direction.
    """
    network, data = load_network(run).network.eval(), load_data(run)
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
