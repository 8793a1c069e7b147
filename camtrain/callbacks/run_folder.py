"""The folder in which a run keeps its files."""

from __future__ import annotations

from pathlib import Path

from pytorch_lightning import Trainer


def run_folder(trainer: Trainer) -> Path:
    """The folder of the trainer's first logger, or `default_root_dir` if there is no logger.

    The processes agree on the folder by a broadcast, so call this function in all of them.
    """
    return Path(trainer.log_dir or trainer.default_root_dir)
