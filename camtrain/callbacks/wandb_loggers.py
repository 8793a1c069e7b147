"""The loggers of a trainer that log to W&B."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

from pytorch_lightning import Trainer
from pytorch_lightning.loggers import WandbLogger

from camtrain.messages import CamtrainWarning


def wandb_loggers(trainer: Trainer) -> list[WandbLogger]:
    """The loggers of the trainer that have a W&B run; empty except in the first process.

    A logger whose run is disabled is left out: pictures and tables would be made for nothing.

    Args:
        trainer: The trainer.
    """
    if not trainer.is_global_zero:
        return []
    loggers = [logger for logger in trainer.loggers if isinstance(logger, WandbLogger)]
    return [logger for logger in loggers if not logger.experiment.disabled]


def log_to_wandb(trainer: Trainer, make: Callable[[], Mapping[str, Any]]) -> None:
    """Log pictures and tables of the epoch. W&B writes pictures to disk while they are made; if that fails, warn.

    Args:
        trainer: The trainer.
        make: Makes what is logged, by name. It is called once for each logger.

    Warns:
        CamtrainWarning: If something could not be made.
    """
    for logger in wandb_loggers(trainer):
        try:
            made = dict(make())
        except Exception as error:  # W&B raises almost anything
            message = f"W&B: {type(error).__name__}: {error}; the run goes on without its pictures and tables in W&B"
            warnings.warn(message, CamtrainWarning, stacklevel=3)
            continue
        # Without an explicit step: W&B drops what comes with a smaller step than it has seen.
        logger.log_metrics({**made, "epoch": trainer.current_epoch})
