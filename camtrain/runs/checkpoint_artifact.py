"""The best checkpoint of a run as an artifact of W&B."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path

from pytorch_lightning import Trainer

from camtrain.callbacks.best_checkpoint import choosing_callback
from camtrain.callbacks.wandb_loggers import wandb_loggers
from camtrain.messages import CamtrainWarning

_LONGEST = 100  # W&B takes 128


def log_best_checkpoint(trainer: Trainer, aliases: Sequence[str], name: str) -> None:
    """Hand the best checkpoint of a training to W&B as an artifact; the last one, if none was chosen.

    All runs of a name are versions of one artifact, and an alias is moved to the newest. Offline, the checkpoint is a
    part of what `wandb sync` uploads.

    Args:
        trainer: The trainer, at the end of fit.
        aliases: The names of this version, such as `best`; empty hands nothing over.
        name: The name of the run.

    Warns:
        CamtrainWarning: If W&B takes no part, or there is no checkpoint.
    """
    if not aliases or not trainer.is_global_zero:
        return
    callback = choosing_callback(trainer)
    path = getattr(callback, "best_model_path", "") or getattr(callback, "last_model_path", "")
    loggers = wandb_loggers(trainer)
    missing = "W&B takes no part in this run" if not loggers else "" if path else "the run has no checkpoint"
    if missing:
        warnings.warn(f"`run.wandb_checkpoint`: {missing}, so that it gets none", CamtrainWarning, stacklevel=2)
        return
    import wandb  # takes a second, so only if a run is logged to W&B

    score = getattr(callback, "best_model_score", None)
    about = {"epochs": trainer.current_epoch, "monitor": callback.monitor}
    about |= {} if score is None else {"score": float(score)}
    for logger in loggers:
        artifact = wandb.Artifact(artifact_name(name), type="model", metadata={**about, "file": Path(path).name})
        artifact.add_file(path, name="best.ckpt")
        logger.experiment.log_artifact(artifact, aliases=list(aliases))


def artifact_name(name: str) -> str:
    """The name of a run as that of an artifact, which has only letters, digits and the signs `-_.`.

    Example:
        >>> artifact_name("study/weight=0,seed=1")
        'study-weight-0-seed-1'
    """
    return re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII)[:_LONGEST]


def check_aliases(aliases: Sequence[str]) -> None:
    """Check the names of a version of an artifact.

    Raises:
        ValueError: If one is empty, or has a sign that W&B does not take.

    Example:
        >>> check_aliases(["best", "a/b"])
        Traceback (most recent call last):
        ValueError: `run.wandb_checkpoint`: expected names without / and :, such as [best], got 'a/b'
    """
    for alias in aliases:
        if not alias.strip() or re.search(r"[/:]", alias) or not alias.isprintable():
            raise ValueError(f"`run.wandb_checkpoint`: expected names without / and :, such as [best], got {alias!r}")
