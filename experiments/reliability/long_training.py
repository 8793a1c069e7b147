"""Trains 10,000 steps with each engine and with a penalty on a map, and says how the memory grows; see README.md.

    python -m experiments.reliability.long_training [--small] [--only FrozenGates]

Memory is the resident memory of a process that does nothing else, with an allocator that gives back what is freed. It
is read after each fiftieth of the steps. The growth is from the second fiftieth to the last one, relative to it, each
as the median of three readings.
"""

from __future__ import annotations

import argparse
import gc
import json
import re
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from camtrain import Objective
from camtrain.gradients import DoubleBackprop, FrozenGates
from camtrain.networks import CIFARResNet
from camtrain.regularizers import InterpretableGradient, MapFaithfulness, MapSparsity
from experiments.measuring import json_of_own_process
from experiments.reliability.parts import Part, Row, kept, part_settings, run_part

PART = Part(
    "long_training",
    "10,000 steps, each engine and a map loss",
    "memory growth ≤ 1 %",
    ("flat",),
    10_000,
    100,
)
MOST_GROWTH = 0.01
OBJECTIVES: dict[str, Callable[[], Objective]] = {
    "FrozenGates": lambda: Objective(InterpretableGradient(), 0.1, FrozenGates()),
    "DoubleBackprop": lambda: Objective(InterpretableGradient(), 0.1, DoubleBackprop()),
    "MapSparsity": lambda: Objective(MapSparsity("grad_cam"), 0.1),
    "MapFaithfulness": lambda: Objective(MapFaithfulness(), 0.1),
}


def main(words: Sequence[str] | None = None) -> None:
    """Measure what has no row yet."""
    if words is None and (found := _measured()):
        print(found)
        return
    settings = part_settings(PART, __doc__, words)
    PART.rows(settings.results, fresh=settings.fresh)
    cases = kept(PART, settings, list(OBJECTIVES), lambda name: f"{name}, {settings.size} steps")
    run_part(PART, settings, rows(cases, settings.size, settings.seed), len(cases))


def rows(names: Sequence[str], steps: int, seed: int) -> Iterator[Row]:
    """Measure each objective in a process of its own."""
    for name in names:
        started = time.monotonic()
        words = ["--measure", name, "--steps", str(steps), "--seed", str(seed)]
        found = json_of_own_process("experiments.reliability.long_training", words)
        seconds = f"{time.monotonic() - started:.1f}"
        case = f"{name}, {steps} steps"
        if found is None:
            yield Row(case, name, f"{steps} steps", "traceback", "the process failed", "", seconds)
            continue
        growth = found["growth"]
        outcome = "flat" if growth <= MOST_GROWTH and found["hooks"] == 0 else "grows"
        detail = f"from {found['first'] / 2**20:.1f} to {found['last'] / 2**20:.1f} MiB, {found['hooks']} hooks left"
        yield Row(case, name, f"{steps} steps", outcome, detail, f"{growth:+.2%}", seconds)


def _measured() -> str | None:
    """The answer of a process that measures, where this is one."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--measure", choices=list(OBJECTIVES))
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    settings, _ = parser.parse_known_args()
    return None if settings.measure is None else json.dumps(measured(settings.measure, settings.steps, settings.seed))


def measured(name: str, steps: int, seed: int) -> dict[str, float]:
    """Train steps, and read the memory meanwhile.

    Args:
        name: The objective.
        steps: The number of steps, at least 100.
        seed: The seed of weights, images and labels.
    """
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    network, objective = CIFARResNet(depth=8, num_classes=4, width=4), OBJECTIVES[name]()
    optimizer = torch.optim.SGD(network.parameters(), 0.01)
    readings = []
    for step in range(1, steps + 1):
        images, labels = torch.randn(4, 3, 16, 16), torch.randint(4, (4,))
        optimizer.zero_grad(set_to_none=True)
        objective(network, images, labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        if step % (steps // 50) == 0:
            gc.collect()
            readings.append(_resident())
    first, last = statistics.median(readings[1:4]), statistics.median(readings[-3:])
    hooks = sum(len(module._forward_hooks) + len(module._backward_hooks) for module in network.modules())
    return {"first": first, "last": last, "growth": (last - first) / first, "hooks": hooks}


def _resident() -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found is not None  # every Linux has it
    return int(found.group(1)) * 1024


if __name__ == "__main__":
    main()
