"""The loggers of a run: a table in its folder, and W&B."""

from __future__ import annotations

import re
from pathlib import Path

import wandb
from pytorch_lightning.loggers import Logger

from camtrain.runs.first_process import is_first_process
from camtrain.runs.guarded_wandb_logger import GuardedWandbLogger
from camtrain.runs.metrics_table import MetricsTable, continued_rows
from camtrain.runs.resumed_run import ResumedRun
from camtrain.runs.run_lock import RunLock
from camtrain.runs.run_settings import RunSettings
from camtrain.runs.wandb_history import log_missing_rows
from camtrain.runs.wandb_mode import wandb_mode

_RUN_FOLDER = re.compile(r"(?:offline-)?run-(\d+_\d+)-(.+)")


def run_loggers(
    settings: RunSettings, name: str, resumed: ResumedRun | None = None, lock: RunLock | None = None
) -> list[Logger]:
    """A CSV logger, whose folder is the run's, and W&B's unless it is disabled.

    Args:
        settings: The settings of the run.
        name: The name of the run where the settings have none.
        resumed: The run to go on with; `None` begins a new run.
        lock: Takes the lock of a new run; `None` leaves it.
    """
    table = _table(settings, settings.name or name, resumed)
    # Claims the folder, in which W&B writes, too.
    _ = table.experiment
    if lock is not None and resumed is None:
        lock.take(Path(table.log_dir))
    mode = wandb_mode(settings.wandb)
    if mode == "disabled":
        return [table]
    logger = GuardedWandbLogger(
        Path(table.log_dir).absolute(),  # W&B's own process may have been started in another folder
        mode,
        _wandb_id(table) if resumed else None,
        name=f"{table.name}/version_{table.version}",
        project=settings.project,
        group=settings.group,
        tags=settings.tags,
        notes=settings.notes,
        settings=wandb.Settings(quiet=True),  # the last thing on the screen is the table of scores
    )
    if resumed:
        # Opened first: until then W&B's process of a run that was killed may still be writing its files.
        _ = logger.experiment
        log_missing_rows(logger, table)
    return [table, logger]


def _table(settings: RunSettings, name: str, resumed: ResumedRun | None) -> MetricsTable:
    if resumed is None:
        return MetricsTable(settings.folder, name)
    rows = None
    if is_first_process():
        rows = continued_rows(resumed.folder / "metrics.csv", resumed.rows, resumed.steps)
    return MetricsTable(settings.folder, name, resumed.version, rows)


def _wandb_id(table: MetricsTable) -> str | None:
    """The id of W&B's newest run in a folder, whose own folders are called `offline-run-<time>-<id>`."""
    names = [path.name for path in Path(table.log_dir, "wandb").glob("*run-*-*")]
    found = [match.groups() for name in names if (match := _RUN_FOLDER.fullmatch(name))]
    return max(found)[1] if found else None  # the later time
