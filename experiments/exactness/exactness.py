"""Compare camtrain's gradients with independent ones; see README.md.

python -m experiments.exactness.exactness
"""

from __future__ import annotations

import copy
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from captum.attr import GuidedBackprop
from torch import Tensor, nn

from camtrain import Objective
from camtrain.gradients import DoubleBackprop, guided_gradient
from camtrain.regularizers import InterpretableGradient
from experiments.exactness.reference import (
    NUM_CLASSES,
    Gradients,
    max_relative_error,
    network_under_test,
    reference_guided_gradient,
    reference_step,
    relative_difference,
)
from experiments.readme_tables import markdown_table, put_texts
from experiments.result_rows import read_rows, write_rows

SEEDS = (0, 1, 2)
IMAGES, SIZE = 2, 64
NETWORKS = ("resnet18", "mobilenet_v2", "vgg11_bn", "densenet121")
CAPTUM_IS_RIGHT = ("resnet18", "vgg11")
# These λ make λ ∇L_R a percent of ∇L_C or more, whatever the units of the distance.
WEIGHTS = {"cosine": 10.0, "mae": 300.0, "mse": 3000.0, "histogram_intersection": 10.0}
TOLERANCE = 1e-9

PLAIN = "guided gradient vs plain gradient"
HERE = Path(__file__).parent
RESULTS = HERE / "results.csv"
MARKER = "results of experiments/exactness"


class Comparison(NamedTuple):
    """What was compared with what. `distance` is empty if the quantity does not depend on it."""

    network: str
    mode: str
    distance: str
    quantity: str


Comparisons = Iterator[tuple[Comparison, float]]


def main() -> None:
    """Compare, write results.csv and the table of README.md, and fail if a bound does not hold."""
    torch.set_num_threads(1)
    started = time.perf_counter()
    errors: dict[Comparison, list[float]] = defaultdict(list)
    for seed in SEEDS:
        for comparison, error in comparisons(seed):
            errors[comparison].append(error)
            print(f"seed {seed}  {'  '.join(filter(None, comparison))}: {error:.1e}", flush=True)
    write(errors)
    put_texts(readme_texts(), HERE / "README.md")
    print(f"\n{readme_texts()[MARKER]}\n\n{time.perf_counter() - started:.0f} s")
    broken = [comparison for comparison, found in errors.items() if not holds(comparison, found)]
    if broken:
        sys.exit(f"out of bounds: {broken}")


def holds(comparison: Comparison, errors: list[float]) -> bool:
    """Tell whether gradients that should be equal are equal, and those that should differ differ."""
    return min(errors) > 0.1 if comparison.quantity == PLAIN else max(errors) <= TOLERANCE


def comparisons(seed: int) -> Comparisons:
    """Make all comparisons for one seed of weights, images, labels and dropout."""
    for name in NETWORKS:
        network = network_under_test(name, seed=seed)
        # One network is enough for the other distances: their derivatives do not depend on the network.
        distances = WEIGHTS if name == "resnet18" else ["cosine"]
        for mode in ("train", "eval"):
            network.train(mode == "train")
            for distance in distances:
                yield from of_parameters(network, Comparison(name, mode, distance, ""), seed)
            yield from of_guided_gradient(network, Comparison(name, mode, "", ""), seed)
    for name in CAPTUM_IS_RIGHT:
        yield from of_captum(network_under_test(name, seed=seed).eval(), Comparison(name, "eval", "", ""), seed)


def of_parameters(network: nn.Module, case: Comparison, seed: int) -> Comparisons:
    """Compare ∇(L_C + λ L_R) and λ ∇L_R of every parameter with the reference."""
    images, labels = batch(seed)
    weight = WEIGHTS[case.distance]
    expected = reference_step(network, images, labels, distance=case.distance, weight=weight, seed=seed)
    twin = copy.deepcopy(network)
    torch.manual_seed(seed)
    objective = Objective(InterpretableGradient(case.distance), weight, DoubleBackprop())
    objective(twin, images, labels).loss.backward()
    found: Gradients = {name: parameter.grad for name, parameter in twin.named_parameters()}
    of_regularizer = {name: found[name] - gradient for name, gradient in expected.of_classification.items()}
    yield case._replace(quantity="∇(L_C + λ L_R) vs reference"), max_relative_error(found, expected.of_both)
    yield (
        case._replace(quantity="λ ∇L_R vs reference"),
        max_relative_error(of_regularizer, expected.of_regularizer),
    )


def of_guided_gradient(network: nn.Module, case: Comparison, seed: int) -> Comparisons:
    """Compare δ^G with the reference and with the plain gradient."""
    images, labels = batch(seed)
    expected = reference_guided_gradient(network, images, labels, seed=seed)
    found, plain = guided_and_plain(network, images, labels, seed)
    yield case._replace(quantity="guided gradient vs reference"), relative_difference(found, expected)
    yield case._replace(quantity=PLAIN), relative_difference(found, plain)


def of_captum(network: nn.Module, case: Comparison, seed: int) -> Comparisons:
    """Compare δ^G with captum's, for a network whose output is one loss per image."""
    images, labels = batch(seed)
    found, _ = guided_and_plain(network, images, labels, seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Setting backward hooks on ReLU activations")
        expected = GuidedBackprop(LossPerImage(network, labels)).attribute(images.clone().requires_grad_())
    yield case._replace(quantity="guided gradient vs captum"), relative_difference(found, expected)


class LossPerImage(nn.Module):
    """A network that computes the cross-entropy of each image, (N,)."""

    def __init__(self, network: nn.Module, labels: Tensor) -> None:
        super().__init__()
        self.network, self.labels = network, labels

    def forward(self, images: Tensor) -> Tensor:
        """Compute the losses."""
        return F.cross_entropy(self.network(images), self.labels, reduction="none")


def batch(seed: int) -> tuple[Tensor, Tensor]:
    """Draw random images and labels."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(IMAGES, 3, SIZE, SIZE, dtype=torch.float64, generator=generator)
    return images, torch.randint(NUM_CLASSES, (IMAGES,), generator=generator)


def guided_and_plain(network: nn.Module, images: Tensor, labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Compute camtrain's guided gradient and the plain one, of the summed cross-entropy in one pass."""
    leaf = images.clone().requires_grad_()
    torch.manual_seed(seed)
    loss = F.cross_entropy(copy.deepcopy(network)(leaf), labels, reduction="sum")
    return guided_gradient(loss, leaf), torch.autograd.grad(loss, leaf)[0]


def write(errors: dict[Comparison, list[float]]) -> None:
    """Write results.csv."""
    seeds = " ".join(map(str, SEEDS))
    # Where gradients must differ, the smallest difference is the one that counts.
    worst = {case: (min if case.quantity == PLAIN else max)(found) for case, found in errors.items()}
    columns = (*Comparison._fields, "max_relative_error", "seeds")
    write_rows(RESULTS, columns, [[*case, f"{error:.1e}", seeds] for case, error in worst.items()])


def readme_texts() -> dict[str, str]:
    """Make the table of the README beside results.csv."""
    lines = []
    for row in sorted(read_rows(RESULTS), key=lambda row: row["quantity"]):
        error = float(row["max_relative_error"])
        value = f"{error:g} (smallest)" if row["quantity"] == PLAIN else f"{error:.1e}"
        lines.append([row["quantity"], row["network"], row["mode"], row["distance"] or "–", value])
    return {MARKER: markdown_table(["quantity", "network", "mode", "distance", "largest relative error"], lines)}


if __name__ == "__main__":
    main()
