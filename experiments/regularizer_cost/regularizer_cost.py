"""Measure what a training step costs with each regularizer, relative to a plain step; see README.md.

python -m experiments.regularizer_cost.regularizer_cost [--rounds 15] [--threads 1] [--only energy_inside ...]
"""

from __future__ import annotations

import argparse
import copy
import csv
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from camtrain import Objective
from camtrain.networks import build_network
from camtrain.regularizers import (
    AttentionMining,
    EnergyInside,
    GradientNorm,
    GradientSmoothness,
    InterpretableGradient,
    MapBCE,
    MapConsistency,
    MapDistillation,
    MapL1,
    MapOutside,
    MapSmoothness,
    MapSparsity,
    Regularizer,
    RightForRightReasons,
    SaliencyGuided,
    Sum,
    Term,
)
from experiments.results_table import put

HERE = Path(__file__).parent
IMAGES, SIZE, NUM_CLASSES, WEIGHT = 32, 32, 100, 0.1

REGULARIZERS: dict[str, Callable[[nn.Module], Regularizer | None]] = {
    "plain": lambda _: None,
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
    "AttentionMining": lambda _: AttentionMining(),
    "SaliencyGuided": lambda _: SaliencyGuided(),
    "InterpretableGradient": lambda _: InterpretableGradient(),
    "GradientNorm": lambda _: GradientNorm(),
    "GradientSmoothness": lambda _: GradientSmoothness(),
    "RightForRightReasons": lambda _: RightForRightReasons(),
    "RightForRightReasons of the loss": lambda _: RightForRightReasons("loss"),
    "Sum of InterpretableGradient, GradientNorm, EnergyInside, MapL1": lambda _: Sum(
        [Term(InterpretableGradient(), WEIGHT), Term(GradientNorm()), Term(EnergyInside()), Term(MapL1())]
    ),
}


def main(settings: argparse.Namespace) -> None:
    """Measure, write results.csv and the README's table."""
    torch.set_num_threads(settings.threads)
    times = measured(settings)
    plain = times["plain"]
    with (HERE / "results.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["regularizer", "step_over_plain", "lowest_quarter", "highest_quarter", "rounds", "threads"])
        rows = [row(name, [each / base for each, base in zip(of, plain, strict=True)]) for name, of in times.items()]
        writer.writerows([*each, settings.rounds, settings.threads] for each in rows)
    lines = ["| regularizer | step / plain step | middle half of the rounds |", "| --- | --- | --- |"]
    lines += [f"| {name} | {median:.2f} | {low:.2f} to {high:.2f} |" for name, median, low, high in rows]
    print("\n".join(lines))
    put("\n".join(lines), HERE / "README.md", "<!-- results of experiments/regularizer_cost -->\n")


def row(name: str, ratios: list[float]) -> tuple[str, float, float, float]:
    """Name, median and quartiles."""
    low, median, high = statistics.quantiles(ratios, n=4)
    return name, round(median, 3), round(low, 3), round(high, 3)


def measured(settings: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds of each round, for each regularizer; alternated, so that what else the machine does hits all of them."""
    torch.manual_seed(settings.seed)
    network = build_network("resnet18", NUM_CLASSES, stem="small")
    images, labels = torch.randn(IMAGES, 3, SIZE, SIZE), torch.randint(NUM_CLASSES, (IMAGES,))
    masks = torch.zeros(IMAGES, SIZE, SIZE, dtype=torch.bool)
    masks[:, 8:24, 8:24] = True
    names = [name for name in REGULARIZERS if name == "plain" or not settings.only or name in settings.only]
    objectives = {name: objective(REGULARIZERS[name](network)) for name in names}
    optimizer = torch.optim.SGD(network.parameters(), 0.01)
    for _ in range(3):
        seconds(objectives["plain"], network, images, labels, masks)
        optimizer.step()
    for each in objectives.values():
        for _ in range(2):
            seconds(each, network, images, labels, masks)
    times: dict[str, list[float]] = {name: [] for name in objectives}
    for _ in tqdm(range(settings.rounds), "rounds", disable=None):
        for name, each in objectives.items():
            times[name].append(seconds(each, network, images, labels, masks))
    return times


def objective(regularizer: Regularizer | None) -> Objective:
    """With the default engine."""
    return Objective(regularizer, None if regularizer is None else WEIGHT)


def seconds(objective: Objective, network: nn.Module, images: Tensor, labels: Tensor, masks: Tensor) -> float:
    """Of one forward and backward pass."""
    network.zero_grad(set_to_none=True)
    started = time.perf_counter()
    objective(network, images, labels, masks=masks).loss.backward()
    return time.perf_counter() - started


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", choices=list(REGULARIZERS), metavar="NAME")
    main(parser.parse_args())
