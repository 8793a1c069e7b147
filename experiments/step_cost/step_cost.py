"""Measure what a training step costs with each engine, in time and in memory; see README.md.

    python -m experiments.step_cost.step_cost [--quick] [--networks resnet18 ...] [--device cuda] [--precision bf16]

Rows that are already in results.csv are not measured again, unless --fresh is given.
"""

from __future__ import annotations

import argparse
import copy
import csv
import json
import math
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torchvision.models import VisionTransformer
from tqdm import tqdm

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

HERE = Path(__file__).parent
NUM_CLASSES = 100
WEIGHT = 7.5e-3
LAZY = 4


class Setting(NamedTuple):
    """A network and its batch: images on an accelerator, images on a CPU, and their size in pixels."""

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
    if settings.fresh:
        settings.results.unlink(missing_ok=True)
    rows = rows_of(settings.results)
    for name in settings.networks:
        wanted = [engine for engine in engines_for(name) if Case.of(name, engine, settings) not in rows]
        if not wanted:
            continue
        times, notes = step_times(name, settings)
        peaks = {engine: peak_in_own_process(name, engine, settings) for engine in times} if settings.memory else {}
        for row in summary(name, times, notes, peaks, settings):
            case = Case(*row[: len(Case._fields)])
            if case not in rows:
                rows[case] = row
                append(settings.results, row)
            print("  ".join(row), flush=True)
    print(f"\n{written(list(rows.values()), settings)}\n\n{time.perf_counter() - started:.0f} s")


def parsed() -> argparse.Namespace:
    """The settings of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS)
    parser.add_argument("--steps", type=int, default=20, help="rounds that count; in each, every engine takes a step")
    parser.add_argument("--warm-up", type=int, default=3, help="rounds before them")
    parser.add_argument("--images", type=int, help="per batch, in place of the network's own")
    parser.add_argument("--seed", type=int, default=0, help="of weights and images")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32", choices=("float32", "bf16"), help="bf16 is by autocast")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--compile", action="store_true", help="torch.compile the network")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of the CPU")
    parser.add_argument("--memory", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--results", type=Path, default=HERE / "results.csv")
    parser.add_argument("--quick", action="store_true", help="few images and rounds, and no network at 224 px")
    parser.add_argument("--fresh", action="store_true", help="forget the rows in results.csv")
    parser.add_argument("--measure-memory", nargs=2, metavar=("NETWORK", "ENGINE"), help=argparse.SUPPRESS)
    settings = parser.parse_args()
    if settings.quick:
        settings.images, settings.steps, settings.warm_up = settings.images or 4, min(settings.steps, 3), 1
        settings.networks = [name for name in settings.networks if NETWORKS[name].size < 100]
    return settings


# Networks


def small_vgg() -> nn.Module:
    """VGG11-BN for 32 px: the pool to 7×7 would repeat one pixel 49 times, for two layers of 4096."""
    network = build_network("vgg11_bn", NUM_CLASSES)
    network.avgpool = nn.AdaptiveAvgPool2d(1)
    network.classifier = nn.Sequential(nn.Linear(512, 512), nn.ReLU(True), nn.Dropout(0.5), nn.Linear(512, NUM_CLASSES))
    return network


def small_vit() -> nn.Module:
    """A vision transformer of 6 layers and 64 tokens; it has no gates, and so no guided gradient."""
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
    """The way of most public code: the guided gradient from a second forward pass of a copy with hooks on its ReLUs."""

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
        """Double backpropagation, with δ^G found apart."""
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
    """A copy that shares the parameters and whose ReLUs let only positive gradients through."""
    twin = copy.deepcopy(network, {id(parameter): parameter for parameter in network.parameters()})
    for module in twin.modules():
        if isinstance(module, (nn.ReLU, nn.ReLU6)):
            module.inplace = False
            module.register_full_backward_hook(lambda _, gradients, __: (gradients[0].clamp(min=0),))
    return twin


PLAIN, COMPILED = "plain", "plain, compiled"
ENGINES: dict[str, Callable[[InputGradientRegularizer], Objective]] = {
    PLAIN: lambda _: Objective(),
    # What the regularized step forgoes, since a compiled network hides its gates.
    COMPILED: lambda _: Objective(),
    "double backprop, separate guided forward": lambda r: Objective(r, WEIGHT, SeparateGuidedForward()),
    "double backprop": lambda r: Objective(r, WEIGHT, DoubleBackprop()),
    "frozen gates, one term": lambda r: Objective(r, WEIGHT, FrozenGates(one_term_limit=math.inf)),
    "frozen gates, two terms": lambda r: Objective(r, WEIGHT, FrozenGates(one_term_limit=1e-12)),
    "frozen gates, default": lambda r: Objective(r, WEIGHT, FrozenGates()),
    f"frozen gates, default, every {LAZY} steps": lambda r: Objective(r, WEIGHT, FrozenGates(), every_n_steps=LAZY),
    # Its λ is small since its gradient is not: one term, as in the published experiments.
    "frozen gates, gradient norm": lambda _: Objective(GradientNorm(), WEIGHT, FrozenGates(one_term_limit=math.inf)),
}
NOT_WITHOUT_GATES = ("double backprop, separate guided forward", "frozen gates, gradient norm")


def engines_for(name: str) -> list[str]:
    """Of the ViT every engine penalizes the gradient's norm, so that it needs no engine of its own."""
    left_out = NOT_WITHOUT_GATES if name == "vit" else ()
    # Minutes of compiling, for a line that says the same of every network.
    return [engine for engine in ENGINES if engine not in left_out and (engine != COMPILED or name == "resnet18")]


class Step:
    """A training step of a network with an engine, ready to be timed; or the reason why there is none."""

    def __init__(self, name: str, engine: str, network: nn.Module, settings: argparse.Namespace) -> None:
        self.objective = ENGINES[engine](GradientNorm() if name == "vit" else InterpretableGradient())
        self.network, self.settings = network, settings
        if engine == COMPILED:
            self.network = copy.deepcopy(network)
            self.network.compile()
        # Fused attention has no second derivative: double backpropagation must do with the slow one.
        self.attention: Callable[[], AbstractContextManager[None]] = (
            partial(sdpa_kernel, SDPBackend.MATH) if name == "vit" and "double" in engine else nullcontext
        )
        self.calls = LAZY if "every" in engine else 1
        self.notes: dict[str, float] = {}

    def __call__(self, images: Tensor, labels: Tensor) -> float:
        """Seconds per step."""
        synchronize(self.settings)
        started = time.perf_counter()
        for _ in range(self.calls):
            self.network.zero_grad(set_to_none=True)
            with self.attention():
                with torch.autocast(images.device.type, torch.bfloat16, enabled=self.settings.precision == "bf16"):
                    step = self.objective(self.network, images, labels)
                step.loss.backward()
            self.notes = step.notes or self.notes
            del step
        synchronize(self.settings)
        return (time.perf_counter() - started) / self.calls


def synchronize(settings: argparse.Namespace) -> None:
    """Wait for the accelerator."""
    if settings.device.startswith("cuda"):
        torch.cuda.synchronize()


def network_and_batch(name: str, settings: argparse.Namespace) -> tuple[nn.Module, Tensor, Tensor]:
    """The network after a few plain steps, and random images with random labels."""
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
    """Of the network on this device, unless --images says another."""
    setting = NETWORKS[name]
    return settings.images or (setting.images_on_cpu if settings.device == "cpu" else setting.images)


# Measuring


def step_times(name: str, settings: argparse.Namespace) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Seconds of each round, for each engine, and a remark on each: why it cannot, or the share of two-term steps."""
    network, images, labels = network_and_batch(name, settings)
    steps = {engine: Step(name, engine, network, settings) for engine in engines_for(name)}
    optimizer = torch.optim.SGD(network.parameters(), 0.01)
    for _ in range(3):
        steps[PLAIN](images, labels)
        optimizer.step()
    times: dict[str, list[float]] = {engine: [] for engine in steps}
    remarks = dict.fromkeys(steps, "")
    for engine, step in list(steps.items()):
        try:
            for _ in range(settings.warm_up):
                step(images, labels)
        except (RuntimeError, ValueError) as error:
            remarks[engine] = " ".join(str(error).split())[:200]
            print(f"{name}, {engine}: {remarks[engine]}")
            del steps[engine]
    for _ in tqdm(range(settings.steps), name, disable=None):
        # Alternated, so that whatever else the machine does hits all of them.
        for engine, step in steps.items():
            times[engine].append(step(images, labels))
    for engine, step in steps.items():
        if step.notes:
            remarks[engine] = f"two terms for {step.notes['two_terms']:.0%}, ρ = {step.notes['step']:.1e}"
    return times, remarks


def peak_in_own_process(name: str, engine: str, settings: argparse.Namespace) -> int | None:
    """Bytes by which three steps raise the peak memory of a process that does nothing else."""
    command = [sys.executable, __file__, "--measure-memory", name, engine, "--device", settings.device]
    command += ["--precision", settings.precision, "--images", str(batch_size(name, settings))]
    command += ["--threads", str(settings.threads), "--seed", str(settings.seed)]
    command += ["--channels-last"] * settings.channels_last + ["--compile"] * settings.compile
    # Freed memory goes back to the system at once: the peak is what is alive.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    return json.loads(done.stdout.splitlines()[-1])["peak"] if done.returncode == 0 else None


def memory(name: str, engine: str, settings: argparse.Namespace) -> dict[str, int]:
    """The same, in the process itself."""
    torch.set_num_threads(settings.threads)
    network, images, labels = network_and_batch(name, settings)
    if settings.device.startswith("cuda"):
        Step(name, PLAIN, network, settings)(images[:2], labels[:2])
        network.zero_grad(set_to_none=True)
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    else:
        # Libraries load at the first step; a small one keeps them out of the count.
        Step(name, PLAIN, network, settings)(images[:2], labels[:2])
        network.zero_grad(set_to_none=True)
        # The peak so far may be that of building the network.
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        before = of_process("VmRSS")
    step = Step(name, engine, network, settings)
    for _ in range(3):
        step(images, labels)
    after = torch.cuda.max_memory_allocated() if settings.device.startswith("cuda") else of_process("VmHWM")
    return {"peak": after - before}


def of_process(quantity: str) -> int:
    """Bytes, as Linux counts them. Not `resource.getrusage`, whose peak a process inherits from its parent."""
    found = re.search(rf"{quantity}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found is not None  # every Linux has it
    return int(found.group(1)) * 1024


# Results


class Case(NamedTuple):
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
        """As the settings say."""
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


class Row(NamedTuple):
    """What came out.

    `seconds` is the median; `ratio` the median over the rounds of the time divided by that of the plain step of the
    same round, between its quartiles `ratio_low` and `ratio_high`; memory in bytes, by which a step raises the peak.
    """

    network: str
    engine: str
    device: str
    precision: str
    layout: str
    compiled: str
    images: str
    threads: str
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
    """A row for each engine."""
    rows = []
    for engine, seconds in times.items():
        ratios = [one / plain for one, plain in zip(seconds, times[PLAIN], strict=True)] if seconds else []
        peak, plain_peak = peaks.get(engine), peaks.get(PLAIN)
        rows.append(
            Row(
                *Case.of(name, engine, settings),
                str(len(seconds)),
                *(f"{value:.5f}" if seconds else "" for value in quartiles(seconds)),
                *(f"{value:.3f}" if seconds else "" for value in quartiles(ratios)),
                str(peak) if peak and seconds else "",
                f"{peak / plain_peak:.3f}" if peak and plain_peak and seconds else "",
                remarks[engine],
                torch.__version__,
                f"{platform.machine()}, {os.cpu_count()} cores",
            )
        )
    return rows


def quartiles(values: list[float]) -> tuple[float, float, float]:
    """Median, lower and upper quartile."""
    if len(values) < 2:
        return (values * 3)[:3] if values else (math.nan,) * 3  # type: ignore[return-value]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return middle, low, high


def rows_of(path: Path) -> dict[Case, Row]:
    """Those that were measured before."""
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = [Row(**each) for each in csv.DictReader(file)]
    return {Case(*row[: len(Case._fields)]): row for row in rows}


def append(path: Path, row: Row) -> None:
    """Add a line, and the first line where the file is new."""
    new = not path.is_file()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        if new:
            writer.writerow(Row._fields)
        writer.writerow(row)


def written(rows: list[Row], settings: argparse.Namespace) -> str:
    """The table, after it went into the README beside results.csv, and its summary into the project's."""
    found = table(rows)
    if settings.results.parent == HERE:
        put(found, HERE / "README.md")
        put(overview(rows), HERE.parents[1] / "README.md")
    return found


def put(lines: str, readme: Path) -> None:
    """Replace what stands between the markers of a README."""
    begin, end = "<!-- step cost: begin -->", "<!-- step cost: end -->"
    text = readme.read_text(encoding="utf-8")
    before, marker, rest = text.partition(begin)
    if not marker:
        raise ValueError(f"{readme}: expected the line {begin}, found none")
    _, _, after = rest.partition(end)
    readme.write_text(f"{before}{begin}\n{lines}\n{end}{after}", encoding="utf-8")


OVERVIEW = {
    "double backprop": "double backprop",
    "frozen gates, one term": "frozen gates, early",
    "frozen gates, two terms": "late in training",
    f"frozen gates, default, every {LAZY} steps": f"every {LAZY} steps",
}


def overview(rows: list[Row]) -> str:
    """A line for each network and device: time, and memory, as multiples of the plain step."""
    names = [OVERVIEW[engine] for engine in OVERVIEW]
    lines = [
        f"| step time (peak memory) / plain step | {' | '.join(names)} |",
        "|---" * (1 + len(names)) + "|",
    ]
    groups: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        groups.setdefault((row.network, where(row)), {})[row.engine] = row
    for (network, device), group in groups.items():
        cells = [cell(group.get(engine)) for engine in OVERVIEW]
        lines.append(f"| {network}, {device} | {' | '.join(cells)} |")
    return "\n".join(lines)


def cell(row: Row | None) -> str:
    """Time, and memory where it was measured."""
    if row is None or not row.seconds:
        return "–"
    return f"{float(row.ratio):.2f}" + (f" ({float(row.memory_ratio):.2f})" if row.memory_ratio else "")


def where(row: Row) -> str:
    """Device, threads, precision, layout and compilation of a row."""
    threads = row.threads and f"{row.threads} thread{'s' * (row.threads != '1')}"
    layout = row.layout if row.layout != "contiguous" else ""
    return ", ".join(filter(None, (row.device, threads, row.precision, layout, row.compiled)))


def table(rows: list[Row]) -> str:
    """One block of rows for each setting."""
    lines = [
        "| network | device | images | engine | ms per step | step / plain step (quartiles) | peak memory / plain |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if row.seconds:
            times = f"{1000 * float(row.seconds):.1f} | {float(row.ratio):.2f} ({float(row.ratio_low):.2f} to "
            times += f"{float(row.ratio_high):.2f})"
        else:
            times = f"– | cannot: {row.remark.partition('.')[0]}"
        kept = f"{float(row.memory_ratio):.2f}" if row.memory_ratio else "–"
        lines.append(f"| {row.network} | {where(row)} | {row.images} | {row.engine} | {times} | {kept} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
