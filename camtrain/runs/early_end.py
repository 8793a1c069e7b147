"""That a callback has ended a training: kept in its checkpoints, and respected when the run is resumed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import EarlyStopping
from pytorch_lightning.utilities import rank_zero_info

from camtrain.runs.added_settings import without_added_settings
from camtrain.runs.training_end import time_is_over

STOPPED = "camtrain_stopped"
"""The key of a checkpoint with which a callback has stopped the training: the settings of all callbacks, as JSON."""


class EndKeeper(Callback):
    """Trains no further if the resumed run was stopped by a callback whose settings are still the same.

    Lightning does not keep that a training was told to stop: resumed, it would go on. It also gives `EarlyStopping` the
    patience of the checkpoint instead of that in the configuration, which could then not be raised.

    Attributes:
        settings: The settings of the trainer's callbacks, as plain containers.
        is_reached: Whether the resumed run was told to stop, and would be again.
    """

    def __init__(self) -> None:
        self.settings: list[Any] = []
        self.is_reached = False
        self._trains = False
        self._patience: list[tuple[EarlyStopping, int]] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Note the patience before the checkpoint is loaded."""
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        self._patience = [(each, each.patience) for each in callbacks if isinstance(each, EarlyStopping)]

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add what a resumed run must have in common with this one to be at its end."""
        if trainer.should_stop and not time_is_over(trainer):  # Lightning keeps the time
            checkpoint[STOPPED] = json.dumps(self.settings)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell Lightning to stop; with more `min_epochs` or `min_steps` it does so after these."""
        trainer.should_stop = trainer.should_stop or self.is_reached

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the patience back; not called if there is nothing left to train."""
        self._trains = True
        for callback, patience in self._patience:
            callback.patience = patience

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count the last epoch, which a checkpoint counts as begun, as Lightning does where all epochs are done."""
        if not self.is_reached or self._trains:
            return
        epochs = trainer.fit_loop.epoch_progress.current
        epochs.completed = epochs.processed  # type: ignore[attr-defined]
        rank_zero_info(
            f"The run ended early, after {epochs.completed} epochs, and is not trained further; to train on, change "
            "`trainer.callbacks`, such as the patience of EarlyStopping"
        )


def ended_early(stopped_with: list[Any] | None, settings: list[Any]) -> bool:
    """Whether a run that a callback has stopped would be stopped there again.

    Args:
        stopped_with: The settings of the callbacks of the run; `None` if it was not stopped by one.
        settings: Those that it is resumed with; more of them than before change nothing.

    Example:
        >>> stopping = {"class_path": "EarlyStopping", "init_args": {"patience": 3}}
        >>> ended_early([stopping], [stopping]), ended_early([stopping], []), ended_early(None, [stopping])
        (True, False, False)
    """
    return stopped_with is not None and all(each in settings for each in stopped_with)


def callback_settings(config: Mapping[str, Any]) -> list[Any]:
    """The settings of the trainer's callbacks.

    Args:
        config: A resolved configuration, as plain containers.
    """
    found = config["trainer"].get("callbacks") or []
    return list(without_added_settings(found if isinstance(found, list) else [found]))
