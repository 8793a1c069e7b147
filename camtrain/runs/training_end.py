"""That a training has reached its end, and which; a run that was stopped has no such record."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import Timer

from camtrain.callbacks.run_folder import run_folder
from camtrain.files import write_whole

_NAME = "training_end.json"

Reason = Literal["max_epochs", "max_steps", "max_time", "early_stop", "no_batches"]


@dataclass(frozen=True)
class TrainingEnd:
    """Where a training ended.

    Attributes:
        reason: What ended it: a limit of the trainer, a callback that stopped it (`early_stop`), or that there was
            nothing to train on.
        epochs: The number of epochs that were trained.
        steps: The number of optimizer steps.
    """

    reason: Reason
    epochs: int
    steps: int


def training_end(run: Path) -> TrainingEnd | None:
    """Where the training of a run ended.

    Args:
        run: The folder of a run, `version_<k>`.

    Returns:
        The end; `None` if the training was stopped before it, still runs, or is of a version that did not record it.
        A damaged record counts as none: resuming the run writes it again.
    """
    try:
        return TrainingEnd(**json.loads((run / _NAME).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


class EndRecorder(Callback):
    """Writes `training_end.json` to the folder of a run once its training has reached its end.

    Lightning calls `on_fit_end` only then: signals and errors leave `fit` before it. A training that goes on after its
    end, with more epochs, has no end again until it reaches it.

    Attributes:
        end: The end of the training in this process; `None` before it.
    """

    def __init__(self) -> None:
        self.end: TrainingEnd | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remove the record of an earlier end; not called if there is nothing left to train."""
        self.end = None
        folder = run_folder(trainer)
        if trainer.is_global_zero and not getattr(trainer, "fast_dev_run", False):
            (folder / _NAME).unlink(missing_ok=True)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the end."""
        self.end = TrainingEnd(_reason(trainer), trainer.current_epoch, trainer.global_step)
        folder = run_folder(trainer)
        if trainer.is_global_zero and not getattr(trainer, "fast_dev_run", False):
            write_whole(folder / _NAME, json.dumps(asdict(self.end), indent=2) + "\n")


def _reason(trainer: Trainer) -> Reason:
    # In the order in which Lightning looks at them.
    if 0 in (trainer.limit_train_batches, trainer.num_training_batches):
        return "no_batches"
    if 0 <= trainer.max_steps <= trainer.global_step:
        return "max_steps"
    if trainer.max_epochs is not None and 0 <= trainer.max_epochs <= trainer.current_epoch:
        return "max_epochs"
    return "max_time" if time_is_over(trainer) else "early_stop"


def time_is_over(trainer: Trainer) -> bool:
    """Whether the longest time that a training may take is over."""
    timers = [callback for callback in trainer.callbacks if isinstance(callback, Timer)]  # type: ignore[attr-defined]
    left = [timer.time_remaining() for timer in timers]
    return any(seconds is not None and seconds <= 0 for seconds in left)
