"""How far a training is, in a small file that another process reads while it runs."""

from __future__ import annotations

import json
import math
import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from camtrain.files import write_whole

PROGRESS_FILE = "CAMTRAIN_PROGRESS_FILE"
"""The environment variable with the path of the file; without it none is written."""


@dataclass(frozen=True)
class TrainingProgress:
    """How far a run is.

    Attributes:
        phase: What it does: starting, training, testing or scoring maps.
        epoch: The epoch that is being trained, from 1 on; 0 before the first one.
        epochs: The number of epochs; `None` where steps or time limit the training.
        loss: The loss of the last batch; `None` where there was none, or it is not finite.
        done: The part of the training that is done, in [0, 1]; `None` if it is not known.
        left: Seconds that the rest of the training will take; `None` if it is not known.
    """

    phase: str = "starting"
    epoch: int = 0
    epochs: int | None = None
    loss: float | None = None
    done: float | None = None
    left: float | None = None

    def write(self, path: Path) -> None:
        """Write it; that it cannot be written harms nothing.

        Args:
            path: The file.
        """
        with suppress(OSError):
            write_whole(path, json.dumps({**asdict(self), "pid": os.getpid(), "host": socket.gethostname()}))

    @classmethod
    def read(cls, path: Path) -> TrainingProgress | None:
        """What the file says; `None` if it is not there, is damaged, or the process that wrote it has ended.

        Args:
            path: The file.
        """
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            if found["host"] == socket.gethostname() and not _is_alive(int(found["pid"])):
                return None
            return cls(
                str(found["phase"]),
                int(found["epoch"]),
                *(_number(found, name) for name in ("epochs", "loss", "done", "left")),  # type: ignore[arg-type]
            )
        except (OSError, ValueError, TypeError, KeyError, OverflowError):
            return None


class ProgressWriter(Callback):
    """Writes the progress of a training to a file.

    Args:
        path: The file.
        seconds: The shortest time between two writes, during which nothing waits for a GPU.
    """

    def __init__(self, path: Path, seconds: float = 2.0) -> None:
        self.path, self.seconds = path, seconds
        self._began = self._written = 0.0
        self._start: float | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note when the training began, and where: a run that goes on has done a part already."""
        self._began, self._start = time.monotonic(), _done(trainer, 0)
        self._write(trainer, 0, None)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write the progress, unless it was written just now."""
        if time.monotonic() - self._written >= self.seconds:
            self._write(trainer, batch_idx + 1, outputs)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say that it is tested."""
        if trainer.is_global_zero:
            TrainingProgress("testing", done=1.0).write(self.path)

    def _write(self, trainer: Trainer, batches: int, outputs: Any) -> None:
        if not trainer.is_global_zero:
            return
        done, left = _done(trainer, batches), None
        if done is not None and self._start is not None and done > self._start:
            left = (time.monotonic() - self._began) * (1 - done) / (done - self._start)
        epochs = trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else None
        epoch = trainer.current_epoch + 1
        TrainingProgress("training", epoch, epochs, _loss(outputs), done, left).write(self.path)
        self._written = time.monotonic()


def progress_writers() -> list[Callback]:
    """The callback that writes the file which the environment names, if it names one."""
    path = os.environ.get(PROGRESS_FILE)
    return [ProgressWriter(Path(path))] if path else []


def _done(trainer: Trainer, batches: int) -> float | None:
    """The part of the training that is done after a number of batches of the present epoch."""
    parts = []
    in_epoch = trainer.num_training_batches
    if trainer.max_epochs is not None and trainer.max_epochs > 0:
        share = batches / in_epoch if in_epoch and math.isfinite(in_epoch) else 0.0
        parts.append((trainer.current_epoch + share) / trainer.max_epochs)
    if trainer.max_steps > 0:
        parts.append(trainer.global_step / trainer.max_steps)
    return min(1.0, max(parts)) if parts else None


def _loss(outputs: Any) -> float | None:
    loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
    value = float(loss) if isinstance(loss, torch.Tensor) and loss.numel() == 1 else math.nan
    return value if math.isfinite(value) else None


def _number(found: Mapping[str, Any], name: str) -> float | None:
    value = found[name]
    if value is None:
        return None
    number = int(value) if name == "epochs" else float(value)
    if not 0 <= number < math.inf and name != "loss":
        raise ValueError(f"`{name}`: expected a number of at least 0, got {value}")
    return number


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True
