"""Logs the time and memory of training."""

from __future__ import annotations

import re
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

_MEBIBYTE = 2**20


class StepCost(Callback):
    """Logs the time of a training step and the peak memory, once per epoch.

    `train/seconds_per_step` is the median over the steps of an epoch of the time from the start of one step to the
    start of the next. It includes data loading, and excludes validation, checkpoints and the last step.

    `train/processor_seconds_per_step` is what the processor worked in that time, all threads of the process together,
    on the mean over the steps, since some regularizers act in some steps only. Runs of different hours can be compared
    by it: four busy programs on two cores moved the ratio of two trainings from 2.0 to between 1.8 and 2.8, and their
    ratio by the clock from 1.9 to between 0.4 and 12. It is not logged on a GPU, where it would say nothing.

    `train/peak_memory_mib` is the peak since the process began, in MiB, including validation and maps: the memory that
    torch has allocated on the GPU, or without a GPU the resident set of the process.

    With several processes, both are those of the first one.

    Cost:
        One reading of two clocks per step, without waiting for the GPU.
    """

    def __init__(self) -> None:
        self._steps: list[tuple[float, float]] = []  # by the clock, of the processor
        self._last: tuple[float, float] | None = None

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the steps of the last epoch."""
        self._steps, self._last = [], None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Take the time at the start of a step: a GPU may still be busy when Python is done with the step before."""
        now = time.perf_counter(), time.process_time()
        if self._last is not None:
            self._steps.append((now[0] - self._last[0], now[1] - self._last[1]))
        self._last = now

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave out the time of a validation between two steps."""
        self._last = None

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log time and memory."""
        if self._steps:
            by_clock, of_processor = zip(*self._steps, strict=True)
            pl_module.log("train/seconds_per_step", statistics.median(by_clock), rank_zero_only=True)
            if pl_module.device.type == "cpu":
                worked = statistics.fmean(of_processor)
                pl_module.log("train/processor_seconds_per_step", worked, rank_zero_only=True)
        pl_module.log("train/peak_memory_mib", peak_memory(pl_module.device), rank_zero_only=True)


def peak_memory(device: torch.device) -> float:
    """The peak memory of this process in MiB: on the GPU if `device` is one, otherwise its resident set."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / _MEBIBYTE
    status = Path("/proc/self/status")
    # On Linux, `getrusage` includes the process that started this one, which may be larger.
    if status.is_file() and (found := re.search(rb"VmHWM:\s+(\d+) kB", status.read_bytes())):
        return int(found[1]) / 1024
    import resource  # not on every system

    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS counts in bytes, others in KiB.
    return largest / _MEBIBYTE if sys.platform == "darwin" else largest / 1024
