"""Times callables in turn, compares them with a baseline of the same run, and measures peak memory."""

from __future__ import annotations

import json
import math
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tqdm import tqdm


class Quartiles(NamedTuple):
    """The median of some values, and the two quartiles around it."""

    median: float
    low: float
    high: float


def quartiles(values: Sequence[float]) -> Quartiles:
    """Summarize values; a single value is its own quartiles, and of no values all three are NaN."""
    if len(values) < 2:
        return Quartiles(*(list(values) * 3 or [math.nan] * 3))
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Quartiles(median, low, high)


def ratios(seconds: Sequence[float], baseline: Sequence[float]) -> list[float]:
    """Divide the time of each round by the baseline's time in the same round.

    A busy machine slows down both, so that their ratio changes much less than the times do.
    """
    return [one / base for one, base in zip(seconds, baseline, strict=True)]


def seconds_of(call: Callable[[], object], device: str = "cpu") -> float:
    """Time one call, including the work that it leaves to an accelerator."""
    _wait_for(device)
    started = time.perf_counter()
    call()
    _wait_for(device)
    return time.perf_counter() - started


def seconds_by_round(
    calls: Mapping[str, Callable[[], object]], rounds: int, *, warm_up: int = 0, title: str = "", device: str = "cpu"
) -> dict[str, list[float]]:
    """Time several callables in turn, round by round, so that other work on the machine slows all of them alike.

    Args:
        calls: The callables, by name.
        rounds: The number of rounds that count.
        warm_up: The number of rounds before them, which are not timed.
        title: The title of the progress bar.
        device: The device that the callables use; on CUDA, a call ends when its kernels have ended.

    Returns:
        The seconds of each round, by name.
    """
    for _ in range(warm_up):
        for call in calls.values():
            call()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in tqdm(range(rounds), title, unit="round", disable=None):
        for name, call in calls.items():
            seconds[name].append(seconds_of(call, device))
    return seconds


def raised_memory(work: Callable[[], object], device: str = "cpu") -> int:
    """Measure by how many bytes `work` raises the peak memory above what is in use before it.

    On a CPU this is the resident memory of the process, as Linux counts it; on CUDA, the memory of torch's allocator.
    Memory that the process has freed and not given back hides part of the peak: measure in a process of its own, with
    `json_of_own_process`.
    """
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return torch.cuda.max_memory_allocated() - before
    # Forget the peak so far, which may be that of building the network.
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _memory_of_process("VmRSS")
    work()
    return _memory_of_process("VmHWM") - before


def json_of_own_process(module: str, arguments: Sequence[str]) -> Any | None:
    """Run `python -m module arguments...` and read the last line that it prints as JSON; `None` if the command fails.

    The allocator of the process gives back freed memory at once, so that the process's peak is what is in use.
    """
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None


def _wait_for(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def _memory_of_process(quantity: str) -> int:
    # `resource.getrusage` will not do: a process inherits the peak of its parent.
    found = re.search(rf"{quantity}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found is not None  # every Linux has it
    return int(found.group(1)) * 1024
