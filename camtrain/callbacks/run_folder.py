"""Where a run keeps its files."""

from __future__ import annotations

from pathlib import Path

from pytorch_lightning import Trainer


def run_folder(trainer: Trainer) -> Path:
    """Folder of the run: that of the trainer's first logger, or its `default_root_dir` without loggers.

    The processes agree on it by a broadcast: call it on all of them.
    """
    return Path(trainer.log_dir or trainer.default_root_dir)
