"""What a training step costs."""

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
    """Logs the time of a training step and the largest memory so far, once an epoch.

    `train/seconds_per_step` is the median over the epoch's steps of the time from the start of one to the start of the
    next, so loading included; validation, checkpoints and the last step are not. `train/peak_memory` is in MiB, since
    the process began, with validation and maps: of a GPU that is trained on what torch had allocated at most, otherwise
    the process's largest resident set. Of the first process.

    Cost:
        A reading of the clock a step; the GPU is not waited for.
    """

    def __init__(self) -> None:
        self._steps: list[float] = []
        self._last: float | None = None

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin anew."""
        self._steps, self._last = [], None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """A step ends where the next one begins: a GPU may still be busy when Python is done with it."""
        now = time.perf_counter()
        if self._last is not None:
            self._steps.append(now - self._last)
        self._last = now

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Validation between two steps is part of neither."""
        self._last = None

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log both."""
        if self._steps:
            pl_module.log("train/seconds_per_step", statistics.median(self._steps), rank_zero_only=True)
        pl_module.log("train/peak_memory", peak_memory(pl_module.device), rank_zero_only=True)


def peak_memory(device: torch.device) -> float:
    """The largest memory of this process so far, in MiB: of the GPU that it trains on, otherwise its resident set."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / _MEBIBYTE
    status = Path("/proc/self/status")
    # What `getrusage` says on Linux is never below the process that started this one, however large that is.
    if status.is_file() and (found := re.search(rb"VmHWM:\s+(\d+) kB", status.read_bytes())):
        return int(found[1]) / 1024
    import resource  # not on every system

    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS counts in bytes, others in KiB.
    return largest / _MEBIBYTE if sys.platform == "darwin" else largest / 1024
