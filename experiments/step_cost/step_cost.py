"""Measure what a training step costs with each engine, in time and in memory; see README.md.

    python -m experiments.step_cost.step_cost [--quick] [--networks resnet18 ...] [--device cuda] [--precision bf16]

Rows that are already in results.csv are not measured again, unless --fresh is given.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import platform
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torchvision.models import VisionTransformer

from camtrain import Objective
from camtrain.gradients import DoubleBackprop, Engine, FrozenGates, InputGradientPenalty, TermOfPass, frozen_batch_norm
from camtrain.gradients.engine import (
    ClassificationLoss,
    EngineOutput,
    InputGradients,
    forward_pass,
    input_gradients,
    penalties,
)
from camtrain.gradients.gradients_enabled import gradients_enabled
from camtrain.networks import build_network
from camtrain.regularizers import GradientNorm, InputGradientRegularizer, InterpretableGradient
from experiments.measuring import json_of_own_process, quartiles, raised_memory, ratios, seconds_by_round
from experiments.readme_tables import PROJECT_README, markdown_table, put_texts
from experiments.result_rows import ResultRows

HERE = Path(__file__).parent
RESULTS = HERE / "results.csv"
MARKER = "results of experiments/step_cost"
OVERVIEW_MARKER = "overview of experiments/step_cost"
NUM_CLASSES = 100
WEIGHT = 7.5e-3
LAZY = 4


class Setting(NamedTuple):
    """A network and its batch: the number of images on an accelerator and on a CPU, and their size in pixels."""

    build: Callable[[], nn.Module]
    images: int
    images_on_cpu: int
    size: int


def main() -> None:
    """Measure, write results.csv as the rows come, and the table of README.md."""
    settings = parsed()
    if settings.measure_memory:
        print(json.dumps(memory(*settings.measure_memory, settings)))
        return
    torch.set_num_threads(settings.threads)
    started = time.perf_counter()
    rows = ResultRows(settings.results, Row, Case, fresh=settings.fresh)
    for name in settings.networks:
        if all(Case.of(name, engine, settings) in rows for engine in engines_for(name)):
            continue
        times, notes = step_times(name, settings)
        peaks = {engine: peak_in_own_process(name, engine, settings) for engine in times} if settings.memory else {}
        found = summary(name, times, notes, peaks, settings)
        rows.add(*found)
        for row in found:
            print(*astuple(row), sep="  ", flush=True)
    if settings.results == RESULTS:
        put_texts(readme_texts(), HERE / "README.md")
        put_texts(overview_texts(), PROJECT_README)
    print(f"\n{table(rows)}\n\n{time.perf_counter() - started:.0f} s")


def parsed() -> argparse.Namespace:
    """Read the settings from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS)
    parser.add_argument(
        "--steps", type=int, default=20, help="number of rounds that count; in each, every engine takes a step"
    )
    parser.add_argument("--warm-up", type=int, default=3, help="number of rounds before them")
    parser.add_argument("--images", type=int, help="number of images in a batch, instead of the network's own")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and images")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32", choices=("float32", "bf16"), help="bf16 uses autocast")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--compile", action="store_true", help="torch.compile the network")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="number of threads on the CPU")
    parser.add_argument("--memory", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--quick", action="store_true", help="few images and rounds, and no network at 224 px")
    parser.add_argument("--fresh", action="store_true", help="delete the results first")
    parser.add_argument("--measure-memory", nargs=2, metavar=("NETWORK", "ENGINE"), help=argparse.SUPPRESS)
    settings = parser.parse_args()
    if settings.quick:
        settings.images, settings.steps, settings.warm_up = settings.images or 4, min(settings.steps, 3), 1
        settings.networks = [name for name in settings.networks if NETWORKS[name].size < 100]
    return settings


# Networks


def small_vgg() -> nn.Module:
    """Build VGG11-BN for 32 px. Its pool to 7×7 would repeat one pixel 49 times, for two layers of 4096."""
    network = build_network("vgg11_bn", NUM_CLASSES)
    network.avgpool = nn.AdaptiveAvgPool2d(1)
    network.classifier = nn.Sequential(nn.Linear(512, 512), nn.ReLU(True), nn.Dropout(0.5), nn.Linear(512, NUM_CLASSES))
    return network


def small_vit() -> nn.Module:
    """Build a vision transformer of 6 layers and 64 tokens. It has no gates, and so no guided gradient."""
    network = VisionTransformer(32, 4, 6, 6, 192, 768, num_classes=NUM_CLASSES)
    # torchvision sets the head to zero, and with it the input gradient of an untrained network.
    nn.init.trunc_normal_(network.heads.head.weight, std=0.05)  # type: ignore[union-attr, arg-type]
    return network  # type: ignore[no-any-return]


NETWORKS = {
    "resnet18": Setting(lambda: build_network("resnet18", NUM_CLASSES, stem="small"), 128, 16, 32),
    "mobilenet_v2": Setting(lambda: build_network("mobilenet_v2", NUM_CLASSES, stem="small"), 128, 16, 32),
    "vgg11_bn": Setting(small_vgg, 128, 32, 32),
    "resnet50": Setting(lambda: build_network("resnet50", NUM_CLASSES), 64, 2, 224),
    "vit": Setting(small_vit, 128, 32, 32),
}


# Engines


class SeparateGuidedForward(Engine):
    """Takes the guided gradient from a second pass of a copy with hooks on its ReLUs, as most public code does."""

    def __init__(self) -> None:
        self._copy: nn.Module | None = None

    def __call__(
        self,
        network: nn.Module,
        images: Tensor,
        classification_loss: ClassificationLoss,
        penalty: InputGradientPenalty,
        weight: float,
        *,
        keep_classification_graph: bool = False,
        beside: TermOfPass | None = None,
    ) -> EngineOutput:
        """Run double backpropagation, with δ^G from a pass of its own."""
        if self._copy is None:
            self._copy = guided_copy(network)
        leaf = images.detach().requires_grad_()
        with frozen_batch_norm(self._copy), gradients_enabled():
            (guided,) = torch.autograd.grad(classification_loss(self._copy(leaf)) * len(images), leaf)
        without = InputGradientPenalty(penalty.of_each_image)
        forward = forward_pass(network, images, classification_loss, without)
        found = input_gradients(forward, without, create_graph=True)
        regularization = penalties(penalty, InputGradients(found.gradients, guided.to(found.gradients.dtype))).mean()
        loss = forward.classification + weight * regularization
        return EngineOutput(loss, forward.classification, regularization.detach(), forward.logits)


def guided_copy(network: nn.Module) -> nn.Module:
    """Make a copy that shares the parameters and whose ReLUs let only positive gradients through."""
    twin = copy.deepcopy(network, {id(parameter): parameter for parameter in network.parameters()})
    for module in twin.modules():
        if isinstance(module, (nn.ReLU, nn.ReLU6)):
            module.inplace = False
            module.register_full_backward_hook(lambda _, gradients, __: (gradients[0].clamp(min=0),))
    return twin


PLAIN, COMPILED = "plain", "plain, compiled"
ENGINES: dict[str, Callable[[InputGradientRegularizer], Objective]] = {
    PLAIN: lambda _: Objective(),
    # A compiled network hides its gates: this speed is out of reach of a regularized step.
    COMPILED: lambda _: Objective(),
    "double backprop, separate guided forward": lambda r: Objective(r, WEIGHT, SeparateGuidedForward()),
    "double backprop": lambda r: Objective(r, WEIGHT, DoubleBackprop()),
    "frozen gates, one term": lambda r: Objective(r, WEIGHT, FrozenGates(one_term_limit=math.inf)),
    "frozen gates, two terms": lambda r: Objective(r, WEIGHT, FrozenGates(one_term_limit=1e-12)),
    "frozen gates, default": lambda r: Objective(r, WEIGHT, FrozenGates()),
    f"frozen gates, default, every {LAZY} steps": lambda r: Objective(r, WEIGHT, FrozenGates(), every_n_steps=LAZY),
    # One term, as in the published experiments; a step that would change L_C too much is shortened, which takes two.
    "frozen gates, gradient norm": lambda _: Objective(GradientNorm(), WEIGHT, FrozenGates(one_term_limit=math.inf)),
}
NOT_WITHOUT_GATES = ("double backprop, separate guided forward", "frozen gates, gradient norm")


def engines_for(name: str) -> list[str]:
    """List the engines that a network is measured with; for the ViT all of them penalize the gradient's norm."""
    left_out = NOT_WITHOUT_GATES if name == "vit" else ()
    # Compiling takes minutes, and the line says the same for every network.
    return [engine for engine in ENGINES if engine not in left_out and (engine != COMPILED or name == "resnet18")]


class Step:
    """A training step of a network with an engine, ready to be timed."""

    def __init__(self, name: str, engine: str, network: nn.Module, settings: argparse.Namespace) -> None:
        self.objective = ENGINES[engine](GradientNorm() if name == "vit" else InterpretableGradient())
        self.network, self.settings = network, settings
        if engine == COMPILED:
            self.network = copy.deepcopy(network)
            self.network.compile()
        # Fused attention has no second derivative: double backpropagation uses the slow attention.
        self.attention: Callable[[], AbstractContextManager[None]] = (
            partial(sdpa_kernel, SDPBackend.MATH) if name == "vit" and "double" in engine else nullcontext
        )
        self.steps = LAZY if "every" in engine else 1
        self.notes: dict[str, float] = {}

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        """Take one step; with a lazy engine, take several steps of which it regularizes one."""
        for _ in range(self.steps):
            self.network.zero_grad(set_to_none=True)
            with self.attention():
                with torch.autocast(images.device.type, torch.bfloat16, enabled=self.settings.precision == "bf16"):
                    step = self.objective(self.network, images, labels)
                step.loss.backward()
            self.notes = step.notes or self.notes
            del step


def network_and_batch(name: str, settings: argparse.Namespace) -> tuple[nn.Module, Tensor, Tensor]:
    """Build the network, and random images with random labels."""
    torch.manual_seed(settings.seed)
    setting = NETWORKS[name]
    network = setting.build().to(settings.device)
    images = torch.randn(batch_size(name, settings), 3, setting.size, setting.size, device=settings.device)
    labels = torch.randint(NUM_CLASSES, (len(images),), device=settings.device)
    if settings.channels_last:
        network, images = network.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)
    if settings.compile:
        network.compile()
    return network, images, labels


def batch_size(name: str, settings: argparse.Namespace) -> int:
    """Return the batch size of the network on this device, or that of --images."""
    setting = NETWORKS[name]
    return settings.images or (setting.images_on_cpu if settings.device == "cpu" else setting.images)


# Measuring


def step_times(name: str, settings: argparse.Namespace) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Time each engine in each round. A remark says why an engine cannot, or how often it took two terms."""
    network, images, labels = network_and_batch(name, settings)
    steps = {engine: Step(name, engine, network, settings) for engine in engines_for(name)}
    optimizer = torch.optim.SGD(network.parameters(), 0.01)
    for _ in range(3):
        steps[PLAIN](images, labels)
        optimizer.step()
    remarks = dict.fromkeys(steps, "")
    able = dict(steps)
    for engine, step in steps.items():
        try:
            for _ in range(settings.warm_up):
                step(images, labels)
        except (RuntimeError, ValueError) as error:
            remarks[engine] = " ".join(str(error).split())[:200]
            print(f"{name}, {engine}: {remarks[engine]}")
            del able[engine]
    calls = {engine: partial(step, images, labels) for engine, step in able.items()}
    seconds = seconds_by_round(calls, settings.steps, title=name, device=settings.device)
    for engine, step in able.items():
        if step.notes:
            remarks[engine] = f"two terms for {step.notes['two_terms']:.0%}, ρ = {step.notes['step']:.1e}"
    times = {engine: [each / step.steps for each in seconds.get(engine, [])] for engine, step in steps.items()}
    return times, remarks


def peak_in_own_process(name: str, engine: str, settings: argparse.Namespace) -> int | None:
    """Measure by how many bytes three steps raise the peak memory of a process that does nothing else."""
    arguments = ["--measure-memory", name, engine, "--device", settings.device]
    arguments += ["--precision", settings.precision, "--images", str(batch_size(name, settings))]
    arguments += ["--threads", str(settings.threads), "--seed", str(settings.seed)]
    arguments += ["--channels-last"] * settings.channels_last + ["--compile"] * settings.compile
    found = json_of_own_process("experiments.step_cost.step_cost", arguments)
    return None if found is None else found["peak"]


def memory(name: str, engine: str, settings: argparse.Namespace) -> dict[str, int]:
    """Measure the same in this process."""
    torch.set_num_threads(settings.threads)
    network, images, labels = network_and_batch(name, settings)
    # Libraries are loaded in the first step: a small step before the measurement keeps them out of it.
    Step(name, PLAIN, network, settings)(images[:2], labels[:2])
    network.zero_grad(set_to_none=True)

    def three_steps() -> None:
        step = Step(name, engine, network, settings)
        for _ in range(3):
            step(images, labels)

    return {"peak": raised_memory(three_steps, settings.device)}


# Results


@dataclass(frozen=True)
class Case:
    """What was measured."""

    network: str
    engine: str
    device: str
    precision: str
    layout: str
    compiled: str
    images: str
    threads: str

    @classmethod
    def of(cls, name: str, engine: str, settings: argparse.Namespace) -> Case:
        """Make the case that the settings describe."""
        cuda = settings.device.startswith("cuda")
        return cls(
            name,
            engine,
            torch.cuda.get_device_name() if cuda else "CPU",
            settings.precision,
            "channels_last" if settings.channels_last else "contiguous",
            "compiled" if settings.compile else "",
            str(batch_size(name, settings)),
            "" if cuda else str(settings.threads),
        )


@dataclass(frozen=True)
class Row(Case):
    """The result.

    `seconds` is the median over the rounds. `ratio` is the median over the rounds of the time divided by that of the
    plain step in the same round, between its quartiles `ratio_low` and `ratio_high`. `peak_memory` is the number of
    bytes by which a step raises the peak memory.
    """

    rounds: str
    seconds: str
    seconds_low: str
    seconds_high: str
    ratio: str
    ratio_low: str
    ratio_high: str
    peak_memory: str
    memory_ratio: str
    remark: str
    torch: str
    machine: str


def summary(
    name: str,
    times: dict[str, list[float]],
    remarks: dict[str, str],
    peaks: dict[str, int | None],
    settings: argparse.Namespace,
) -> list[Row]:
    """Make a row for each engine."""
    rows = []
    for engine, seconds in times.items():
        relative = ratios(seconds, times[PLAIN]) if seconds else []
        peak, plain_peak = peaks.get(engine), peaks.get(PLAIN)
        rows.append(
            Row(
                *astuple(Case.of(name, engine, settings)),
                str(len(seconds)),
                *(f"{value:.5f}" if seconds else "" for value in quartiles(seconds)),
                *(f"{value:.3f}" if seconds else "" for value in quartiles(relative)),
                str(peak) if peak and seconds else "",
                f"{peak / plain_peak:.3f}" if peak and plain_peak and seconds else "",
                remarks[engine],
                torch.__version__,
                f"{platform.machine()}, {os.cpu_count()} cores",
            )
        )
    return rows


def readme_texts() -> dict[str, str]:
    """Make the tables of the README beside results.csv."""
    return {**overview_texts(), MARKER: table(ResultRows(RESULTS, Row, Case))}


def overview_texts() -> dict[str, str]:
    """Make the short table, which the project's README has as well."""
    return {OVERVIEW_MARKER: overview(ResultRows(RESULTS, Row, Case))}


OVERVIEW = {
    "double backprop": "double backprop",
    "frozen gates, one term": "frozen gates",
    "frozen gates, two terms": "two terms",
    f"frozen gates, default, every {LAZY} steps": f"every {LAZY} steps",
}


def overview(rows: Iterable[Row]) -> str:
    """Make the short table: time and memory as multiples of the plain step's, by network."""
    groups: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        groups.setdefault((row.network, where(row)), {})[row.engine] = row
    lines = [
        [f"{network}, {device}", *(cell(group.get(engine)) for engine in OVERVIEW)]
        for (network, device), group in groups.items()
    ]
    return markdown_table(["step time (peak memory) / plain step", *OVERVIEW.values()], lines)


def cell(row: Row | None) -> str:
    """Show the time, and the memory if it was measured."""
    if row is None or not row.seconds:
        return "–"
    return f"{float(row.ratio):.2f}" + (f" ({float(row.memory_ratio):.2f})" if row.memory_ratio else "")


def where(row: Row) -> str:
    """Name the device, threads, precision, layout and compilation of a row."""
    threads = row.threads and f"{row.threads} thread{'s' * (row.threads != '1')}"
    layout = row.layout if row.layout != "contiguous" else ""
    return ", ".join(filter(None, (row.device, threads, row.precision, layout, row.compiled)))


def table(rows: Iterable[Row]) -> str:
    """Make the table of this folder's README, with a block of rows for each setting."""
    headings = ["network", "device", "images", "engine", "ms per step", "step / plain step (quartiles)"]
    lines = []
    for row in rows:
        milliseconds, relative = "–", f"cannot: {row.remark.partition('.')[0]}"
        if row.seconds:
            milliseconds = f"{1000 * float(row.seconds):.1f}"
            relative = f"{float(row.ratio):.2f} ({float(row.ratio_low):.2f} to {float(row.ratio_high):.2f})"
        kept = f"{float(row.memory_ratio):.2f}" if row.memory_ratio else "–"
        lines.append([row.network, where(row), row.images, row.engine, milliseconds, relative, kept])
    return markdown_table([*headings, "peak memory / plain"], lines)


if __name__ == "__main__":
    main()
