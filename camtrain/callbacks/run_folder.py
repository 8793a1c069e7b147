"""Where a run keeps its files, and how that is said."""

from __future__ import annotations

from pathlib import Path

from pytorch_lightning import Trainer


def run_folder(trainer: Trainer) -> Path:
    """Folder of the run: that of the trainer's first logger, or its `default_root_dir` without loggers.

    The processes agree on it by a broadcast: call it on all of them.
    """
    return Path(trainer.log_dir or trainer.default_root_dir)


def from_here(path: Path) -> Path:
    """The path as one would type it in the working folder."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
