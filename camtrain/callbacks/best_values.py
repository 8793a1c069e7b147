"""The best value of each validation score over a training."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from camtrain.evaluation import METRICS

_HIGHER = {
    "accuracy": True,
    "accuracy_top5": True,
    "accuracy_worst_group": True,
    "mean_average_precision": True,
    "f1": True,
    "flat_maps": False,
}


class BestValues:
    """The best values so far, with their epochs.

    Example:
        >>> best = BestValues()
        >>> for epoch, accuracy in enumerate((0.5, 0.8, 0.7)):
        ...     best.add(epoch, {"val/accuracy": accuracy, "train/accuracy": 1.0})
        >>> best.summary()
        {'best/val/accuracy': 0.8, 'best_epoch/val/accuracy': 1}
    """

    def __init__(self) -> None:
        self._best: dict[str, tuple[float, int]] = {}

    def add(self, epoch: int, values: Mapping[str, float]) -> None:
        """Take the values of an epoch into account; only validation scores with a better direction count."""
        for name, value in values.items():
            higher = is_higher_better(name)
            if higher is None or math.isnan(value):
                continue
            known = self._best.get(name)
            if known is None or (value > known[0] if higher else value < known[0]):
                self._best[name] = (float(value), epoch)

    def add_table(self, path: Path) -> None:
        """Take the epochs of a run's `metrics.csv` into account, if there is one.

        A row of another callback or of a user may name no epoch, as those of Lightning's `LearningRateMonitor`.
        """
        if not path.is_file():
            return
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if row.get("epoch"):
                    self.add(int(float(row["epoch"])), dict(_numbers(row.items())))

    def summary(self) -> dict[str, float]:
        """`best/<score>` and `best_epoch/<score>` of each score."""
        values: dict[str, float] = {f"best/{name}": value for name, (value, _) in self._best.items()}
        return values | {f"best_epoch/{name}": epoch for name, (_, epoch) in self._best.items()}


@cache
def is_higher_better(name: str) -> bool | None:
    """Whether a higher value of a validation score is better; `None` if it is no score, or of another stage.

    Example:
        >>> [is_higher_better(f"val/{name}") for name in ("average_drop/grad_cam", "loss_regularizer", "lr")]
        [False, False, None]
    """
    stage, _, quantity = name.partition("/")
    head = quantity.partition("/")[0]
    if stage != "val" or "accuracy_per_" in head or "_per_class" in head:
        return None
    if head in METRICS:
        return METRICS[head].higher_is_better
    return False if head.startswith("loss") else _HIGHER.get(head)


def check_mode(monitor: str | None, mode: str) -> None:
    """Check that the best value of a score is sought in its better direction.

    Args:
        monitor: The name of the score; of one that is not known, and of `None`, nothing is checked.
        mode: `min` or `max`.

    Raises:
        ValueError: If it is the other direction.

    Example:
        >>> check_mode("val/loss", "max")
        Traceback (most recent call last):
        ValueError: `checkpoint.mode`: expected min for `checkpoint.monitor` val/loss, of which less is better, got max
    """
    is_higher = None if monitor is None else is_higher_better(monitor)
    expected, better = ("max", "more") if is_higher else ("min", "less")
    if is_higher is not None and mode != expected:
        raise ValueError(
            f"`checkpoint.mode`: expected {expected} for `checkpoint.monitor` {monitor}, of which {better} is better, "
            f"got {mode}"
        )


def _numbers(cells: Iterable[tuple[str, str]]) -> Iterable[tuple[str, float]]:
    for name, text in cells:
        if text and "/" in name:
            yield name, float(text)
