"""The loggers of a run: a table in its folder, and W&B."""

from __future__ import annotations

import csv
import time
import warnings
from pathlib import Path
from typing import Any

import torch
import wandb
from pytorch_lightning.loggers import CSVLogger, Logger, WandbLogger

from camtrain.runs.run_settings import RunSettings


class _ContinuedCSVLogger(CSVLogger):
    """A CSV logger that keeps what is in its folder, up to a step; Lightning's own would delete it."""

    def __init__(self, folder: str, name: str, version: int, steps: int) -> None:
        super().__init__(folder, name=name, version=version)
        path = Path(self.log_dir, "metrics.csv")
        rows = _rows(path)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Experiment logs directory")
            writer: Any = self.experiment
        # The step of the first row that will be written again is the number of steps done.
        kept = [row for row in rows if int(row["step"]) < steps]
        writer.metrics = [{key: value for key, value in row.items() if value} for row in kept]
        writer.save()


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def run_loggers(settings: RunSettings, name: str, checkpoint: Path | None = None) -> list[Logger]:
    """A CSV logger, whose folder is the run's, and W&B's unless it is disabled.

    Args:
        settings: The settings of the run.
        name: The name of the run where the settings have none.
        checkpoint: The checkpoint to go on from; `None` begins a new run.
    """
    table = _csv_logger(settings, settings.name or name, checkpoint)
    # Claims the folder: another run must not take it, and the CSV logger would find it in use if W&B came first.
    _ = table.experiment
    if settings.wandb == "disabled":
        return [table]
    logger = WandbLogger(
        name=f"{table.name}/version_{table.version}",
        version=_wandb_id(table) if checkpoint else None,
        save_dir=Path(table.log_dir).absolute(),  # W&B's own process may have been started in another folder
        project=settings.project,
        group=settings.group,
        tags=settings.tags,
        offline=settings.wandb == "offline",
        settings=wandb.Settings(quiet=True),  # the last thing on the screen is the table of scores
    )
    if checkpoint:
        open_run(logger)
    return [table, logger]


def open_run(logger: WandbLogger, patience: float = 120.0) -> None:
    """Open the W&B run of a logger, once nobody else has it.

    W&B's own process outlives a run that was killed by some seconds, and keeps the run's id meanwhile.

    Args:
        logger: The logger of a run that is gone on with.
        patience: The longest time to wait, in seconds.
    """
    end = time.monotonic() + patience
    while True:
        try:
            _ = logger.experiment
            return
        except Exception as error:  # W&B has no public class for it
            if "is in use" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.5)


def _csv_logger(settings: RunSettings, name: str, checkpoint: Path | None) -> CSVLogger:
    if checkpoint is None:
        return CSVLogger(settings.folder, name=name)
    steps = int(torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)["global_step"])
    return _ContinuedCSVLogger(settings.folder, name, int(checkpoint.parts[-3].removeprefix("version_")), steps)


def _wandb_id(table: CSVLogger) -> str | None:
    """The id of W&B's run in a folder, whose own folders are called `offline-run-<time>-<id>`."""
    folders = sorted(Path(table.log_dir, "wandb").glob("*run-*-*"))
    return folders[-1].name.rpartition("-")[2] if folders else None
