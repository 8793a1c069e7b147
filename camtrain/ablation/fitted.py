"""The record of a trial's training: which run and checkpoint, and that the training reached its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from camtrain.ablation.evident_end import evident_end
from camtrain.files import DamagedFileError, is_plain_name, read_sealed, write_sealed
from camtrain.loading import checkpoint_in
from camtrain.runs import TrainingStoppedError, training_end
from camtrain.study import Study, Trial

FITTED = "fitted.json"


@dataclass(frozen=True)
class Fitted:
    """A training that reached its end.

    Attributes:
        run: The folder of the run.
        checkpoint: The checkpoint that its test scored.
        test: Whether it was tested.
    """

    run: Path
    checkpoint: Path
    test: bool


def record(study: Study, trial: Trial, run: Path) -> None:
    """Record that a training reached its end.

    Args:
        study: The study.
        trial: The trial.
        run: The folder of its run.

    Raises:
        TrainingStoppedError: If it did not: the run has no record of an end, and its epochs and steps are not done.
        ValueError: If its last checkpoint cannot be read, or the checkpoint that its test scored is not there: without
            it the trial would count as not trained.
    """
    end = training_end(run)
    ended = evident_end(run, _trainer(trial)) if end is None else end.reason
    if ended is None:
        raise TrainingStoppedError("the training was stopped before its end")
    checkpoint = checkpoint_in(run)
    for path in (checkpoint, run / "metrics.csv"):
        if not path.is_file():
            raise ValueError(f"{path} is gone, which the scores of the trial are made from; delete {run} to train anew")
    found = {"run": run.name, "checkpoint": checkpoint.name, "test": study.plan.test, "ended": ended}
    write_sealed(study.folder_of(trial) / FITTED, found)


def recorded(study: Study, trial: Trial) -> Fitted | None:
    """The training that is recorded; `None` if there is none, it did not reach its end, or its files are gone.

    An earlier version also recorded trainings that were stopped. Such a record counts if the last checkpoint has all
    epochs or steps, or the run has scores of a test, which a stopped training never came to.

    Raises:
        DamagedFileError: If the record is damaged.
    """
    folder = study.folder_of(trial)
    path = folder / FITTED
    if not path.is_file():
        return None
    found = read_sealed(path)
    run, checkpoint = found.get("run"), found.get("checkpoint")
    if not (is_plain_name(run) and is_plain_name(checkpoint)):
        raise DamagedFileError(path, f"expected the names of a run and a checkpoint, got {run!r} and {checkpoint!r}")
    fitted = Fitted(
        folder / str(run), folder / str(run) / "checkpoints" / str(checkpoint), bool(found.get("test", True))
    )
    if not (fitted.checkpoint.is_file() and (fitted.run / "metrics.csv").is_file()):
        return None
    return fitted if "ended" in found or _has_ended(fitted, _trainer(trial)) else None


def _has_ended(fitted: Fitted, trainer: Mapping[str, Any]) -> bool:
    if b"test/" in (fitted.run / "metrics.csv").read_bytes().partition(b"\n")[0]:
        return True
    try:
        return evident_end(fitted.run, trainer) is not None
    except ValueError:  # the last checkpoint is gone or damaged; to go on with the training finds out
        return False


def _trainer(trial: Trial) -> Mapping[str, Any]:
    return trial.config.get("trainer") or {}
