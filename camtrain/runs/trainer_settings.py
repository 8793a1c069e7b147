"""Settings of Lightning's trainer that it would take without a word, though they mean nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any


@dataclass(frozen=True)
class _Range:
    """What a number can be.

    Attributes:
        words: The same in words.
        least: The smallest integer.
        others: Integers below that with a meaning of their own.
        fraction: True if a float is a fraction of something, in [0, 1].
        real: True if it is a real number rather than an integer.
    """

    words: str
    least: int
    others: tuple[int, ...] = ()
    fraction: bool = False
    real: bool = False

    def has(self, value: Any) -> bool:
        """Whether a value is in the range."""
        if isinstance(value, int):
            return value >= self.least or value in self.others
        if self.real:
            return math.isfinite(value) and value >= self.least
        return self.fraction and (self.least if self.least == 0 else 1e-9) <= value <= 1


_BATCHES = _Range("a number of batches of at least 0, or a fraction in [0, 1]", 0, fraction=True)
_SOME_BATCHES = _Range("a positive number of batches, or a fraction in (0, 1]", 1, fraction=True)
_POSITIVE, _COUNT = _Range("a positive integer", 1), _Range("an integer of at least 0", 0)
_OR_ENDLESS = _Range("a positive integer, or -1 for no limit", 1, (-1,))

_RANGES = {
    "num_nodes": _POSITIVE,
    "max_epochs": _OR_ENDLESS,
    "max_steps": _OR_ENDLESS,
    "min_epochs": _COUNT,
    "min_steps": _COUNT,
    "limit_train_batches": _SOME_BATCHES,
    "limit_val_batches": _BATCHES,
    "limit_test_batches": _BATCHES,
    "limit_predict_batches": _BATCHES,
    "overfit_batches": _BATCHES,
    "val_check_interval": _SOME_BATCHES,
    "check_val_every_n_epoch": _POSITIVE,
    "num_sanity_val_steps": _Range("an integer of at least 0, or -1 for all batches", 0, (-1,)),
    "log_every_n_steps": _COUNT,
    "accumulate_grad_batches": _POSITIVE,
    "gradient_clip_val": _Range("a finite number of at least 0, or null for none", 0, real=True),
    "reload_dataloaders_every_n_epochs": _COUNT,
    "fast_dev_run": _COUNT,
}


def check_trainer_settings(settings: Mapping[str, Any]) -> None:
    """Check the numbers of a trainer.

    Args:
        settings: Arguments of the trainer.

    Raises:
        ValueError: If one is out of its range.

    Example:
        >>> check_trainer_settings({"max_epochs": 3, "gradient_clip_val": 0.5, "limit_val_batches": 1.0})
        >>> check_trainer_settings({"accumulate_grad_batches": -1})
        Traceback (most recent call last):
        ValueError: `trainer.accumulate_grad_batches`: expected a positive integer, got -1
    """
    for name, value in settings.items():
        expected = _RANGES.get(name)
        if expected is not None and isinstance(value, (int, float)) and not expected.has(value):
            raise ValueError(f"`trainer.{name}`: expected {expected.words}, got {value!r}")
    _check_order(settings, "epochs")
    _check_order(settings, "steps")
    longest = settings.get("max_time")
    if isinstance(longest, Mapping):
        longest = timedelta(**longest)
    if isinstance(longest, str) and not longest.strip(" 0:"):
        longest = timedelta()  # other words are Lightning's to check
    if isinstance(longest, timedelta) and longest <= timedelta():
        raise ValueError(f"`trainer.max_time`: expected a positive time, got {longest}")


def _check_order(settings: Mapping[str, Any], unit: str) -> None:
    least, most = settings.get(f"min_{unit}"), settings.get(f"max_{unit}")
    if least is not None and most is not None and 0 <= most < least:
        raise ValueError(f"`trainer.min_{unit}`: expected at most max_{unit} = {most}, got {least}")
