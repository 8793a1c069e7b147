"""Lightning's own checks of a trainer's numbers, without the machine that the training is for."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning import Trainer

from camtrain.runs.trainer_settings import check_trainer_settings

_NUMBERS = (
    "max_epochs",
    "min_epochs",
    "max_steps",
    "min_steps",
    "max_time",
    "limit_train_batches",
    "limit_val_batches",
    "limit_test_batches",
    "limit_predict_batches",
    "overfit_batches",
    "val_check_interval",
    "check_val_every_n_epoch",
    "num_sanity_val_steps",
    "log_every_n_steps",
    "accumulate_grad_batches",
    "gradient_clip_val",
    "gradient_clip_algorithm",
    "reload_dataloaders_every_n_epochs",
)


def check_trainer(settings: Mapping[str, Any]) -> None:
    """Check how long and how often a trainer trains and validates.

    Args:
        settings: The section `trainer` of a configuration. Devices, precision, plugins and the like are not looked at.

    Raises:
        ValueError: If a number is out of its range.

    Example:
        >>> check_trainer({"max_epochs": -2})
        Traceback (most recent call last):
        ValueError: `trainer.max_epochs`: expected a positive integer, or -1 for no limit, got -2
    """
    check_trainer_settings(settings)
    given = {name: settings[name] for name in _NUMBERS if settings.get(name) is not None}
    try:
        with quietly():
            Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False, **given)
    except MisconfigurationException as error:
        raise ValueError(str(error)) from error


@contextmanager
def quietly() -> Iterator[None]:
    """A context without remarks and warnings, which leaves Torch's random numbers as they were."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric", "lightning")]
    levels = [each.level for each in loggers]
    try:
        for each in loggers:
            each.setLevel(logging.ERROR)
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")
            yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)
