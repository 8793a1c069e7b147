"""Measure what a training step costs with each regularizer, relative to a plain step; see README.md.

    python -m experiments.regularizer_cost.regularizer_cost [--rounds 15] [--threads 1] [--only EnergyInside ...]

Rows that are already in results.csv are not measured again, unless --fresh is given.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from camtrain import Objective
from camtrain.networks import build_network
from camtrain.regularizers import (
    AttentionMining,
    EnergyInside,
    ExpectedGradientsPrior,
    GradientNorm,
    GradientSmoothness,
    InterpretableGradient,
    MapBCE,
    MapConsistency,
    MapDistillation,
    MapFaithfulness,
    MapL1,
    MapOutside,
    MapRanking,
    MapSmoothness,
    MapSparsity,
    Regularizer,
    RightForBetterReasons,
    RightForRightReasons,
    SaliencyGuided,
    SoftInsertionDeletion,
    Sum,
    Term,
)
from experiments.measuring import quartiles, ratios, seconds_by_round
from experiments.readme_tables import markdown_table, put_texts
from experiments.result_rows import ResultRows

HERE = Path(__file__).parent
RESULTS = HERE / "results.csv"
MARKER = "results of experiments/regularizer_cost"
PLAIN = "plain"
FAITHFUL_EVERY_4 = "MapFaithfulness, every 4th step"
IMAGES, SIZE, NUM_CLASSES, WEIGHT = 32, 32, 100, 0.1

REGULARIZERS: dict[str, Callable[[nn.Module], Regularizer | None]] = {
    PLAIN: lambda _: None,
    "EnergyInside": lambda _: EnergyInside(),
    "EnergyInside, layer3": lambda _: EnergyInside(target_layer="layer3"),
    "EnergyInside, layer2": lambda _: EnergyInside(target_layer="layer2"),
    "EnergyInside of the input gradient": lambda _: EnergyInside("input_gradient"),
    "MapL1": lambda _: MapL1(),
    "MapBCE": lambda _: MapBCE(),
    "MapOutside": lambda _: MapOutside(),
    "MapSmoothness": lambda _: MapSmoothness(),
    "MapSparsity": lambda _: MapSparsity(),
    "MapDistillation": lambda network: MapDistillation(copy.deepcopy(network)),
    "MapConsistency": lambda _: MapConsistency(),
    "MapFaithfulness": lambda _: MapFaithfulness(),
    FAITHFUL_EVERY_4: lambda _: MapFaithfulness(),
    "MapFaithfulness, layer_cam": lambda _: MapFaithfulness("layer_cam"),
    "MapFaithfulness, differentiable": lambda _: MapFaithfulness(differentiable=True),
    "MapRanking": lambda _: MapRanking(),
    "AttentionMining": lambda _: AttentionMining(),
    "SaliencyGuided": lambda _: SaliencyGuided(),
    "InterpretableGradient": lambda _: InterpretableGradient(),
    "InterpretableGradient, running statistics": lambda _: InterpretableGradient(batch_norm_statistics="running"),
    "GradientNorm": lambda _: GradientNorm(),
    "GradientSmoothness": lambda _: GradientSmoothness(),
    "RightForRightReasons": lambda _: RightForRightReasons(),
    "RightForBetterReasons": lambda _: RightForBetterReasons(),
    "ExpectedGradientsPrior": lambda _: ExpectedGradientsPrior(),
    "SoftInsertionDeletion": lambda _: SoftInsertionDeletion(),
    "RightForRightReasons of the loss": lambda _: RightForRightReasons("loss"),
    "Sum of InterpretableGradient, GradientNorm, EnergyInside, MapL1": lambda _: Sum(
        [Term(InterpretableGradient(), WEIGHT), Term(GradientNorm()), Term(EnergyInside()), Term(MapL1())]
    ),
    "Sum of MapFaithfulness, InterpretableGradient, running statistics": lambda _: Sum(
        [Term(MapFaithfulness()), Term(InterpretableGradient(batch_norm_statistics="running"), WEIGHT)]
    ),
}


STEPS = {FAITHFUL_EVERY_4: 4}
"""How many steps are timed together, if not one: the regularizer takes part in the first of them."""


@dataclass(frozen=True)
class Case:
    """What was measured."""

    regularizer: str
    threads: str


@dataclass(frozen=True)
class Row:
    """The result: the time of a step over that of a plain step in the same round, as median and quartiles."""

    regularizer: str
    step_over_plain: str
    lowest_quarter: str
    highest_quarter: str
    rounds: str
    threads: str


def main(settings: argparse.Namespace) -> None:
    """Measure, write results.csv and the README's table."""
    torch.set_num_threads(settings.threads)
    rows = ResultRows(settings.results, Row, Case, fresh=settings.fresh)
    wanted = [name for name in settings.only or REGULARIZERS if Case(name, str(settings.threads)) not in rows]
    if wanted:
        # Every run takes plain steps, since its times are relative to them.
        seconds = measured(list(dict.fromkeys([PLAIN, *wanted])), settings)
        of_step = {name: [each / STEPS.get(name, 1) for each in times] for name, times in seconds.items()}
        rows.add(*(row(name, ratios(each, of_step[PLAIN]), settings) for name, each in of_step.items()))
    if settings.results == RESULTS:
        put_texts(readme_texts(), HERE / "README.md")
    print(table(rows))


def row(name: str, relative: list[float], settings: argparse.Namespace) -> Row:
    """Summarize the rounds of one regularizer."""
    values = (str(round(value, 3)) for value in quartiles(relative))
    return Row(name, *values, str(settings.rounds), str(settings.threads))


def readme_texts() -> dict[str, str]:
    """Make the table of the README beside results.csv."""
    return {MARKER: table(ResultRows(RESULTS, Row, Case))}


def table(rows: Iterable[Row]) -> str:
    """Make a table with a row for each regularizer."""
    lines = [
        [
            row.regularizer,
            f"{float(row.step_over_plain):.2f}",
            f"{float(row.lowest_quarter):.2f} to {float(row.highest_quarter):.2f}",
        ]
        for row in rows
    ]
    return markdown_table(["regularizer", "step / plain step", "middle half of the rounds"], lines)


def measured(names: list[str], settings: argparse.Namespace) -> dict[str, list[float]]:
    """Measure the seconds of each round, for each regularizer."""
    torch.manual_seed(settings.seed)
    network = build_network("resnet18", NUM_CLASSES, stem="small")
    images, labels = torch.randn(IMAGES, 3, SIZE, SIZE), torch.randint(NUM_CLASSES, (IMAGES,))
    masks = torch.zeros(IMAGES, SIZE, SIZE, dtype=torch.bool)
    masks[:, 8:24, 8:24] = True
    steps = {
        name: partial(step, objective(name, REGULARIZERS[name](network)), network, images, labels, masks)
        for name in names
    }
    optimizer = torch.optim.SGD(network.parameters(), 0.01)
    for _ in range(3):
        steps[PLAIN]()
        optimizer.step()
    return seconds_by_round(steps, settings.rounds, warm_up=2, title="regularizer_cost")


def objective(name: str, regularizer: Regularizer | None) -> Objective:
    """Weigh a regularizer, with the default engine."""
    weight = None if regularizer is None else WEIGHT
    return Objective(regularizer, weight, every_n_steps=STEPS.get(name, 1))


def step(objective: Objective, network: nn.Module, images: Tensor, labels: Tensor, masks: Tensor) -> None:
    """Run one forward and backward pass, or as many as the regularizer takes part in once."""
    for _ in range(objective.every_n_steps):
        network.zero_grad(set_to_none=True)
        objective(network, images, labels, masks=masks).loss.backward()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", choices=list(REGULARIZERS), metavar="NAME")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--fresh", action="store_true", help="delete the results first")
    main(parser.parse_args())
