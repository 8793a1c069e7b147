"""Where a run is written, and how W&B takes part."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import wandb
from pytorch_lightning.loggers import CSVLogger, Logger, WandbLogger


@dataclass
class RunSettings:
    """Where a run is written, and how W&B takes part. They hold unless `trainer.logger` names loggers of its own.

    Args:
        folder: parent of all runs; each is written to `<folder>/<name>/version_<k>`.
        name: name of the run; null is the name of the (last) config file.
        wandb: `offline` writes a run that can be synced later, `online` streams it, `disabled` writes none.
        project: W&B's project.
        group: W&B's group, such as the study that the run belongs to.
        tags: W&B's tags.
        test: whether `fit` ends with the scores of its best checkpoint on the test set.
    """

    folder: str = "runs"
    name: str | None = None
    wandb: Literal["offline", "online", "disabled"] = "offline"
    project: str = "camtrain"
    group: str | None = None
    tags: list[str] = field(default_factory=list)
    test: bool = True


def run_loggers(settings: RunSettings, name: str) -> list[Logger]:
    """A CSV logger, whose folder is the run's, and W&B's unless it is disabled.

    Args:
        settings: of the run.
        name: used where the settings have none.
    """
    csv = CSVLogger(settings.folder, name=settings.name or name)
    # Claims the folder: another run must not take it, and the CSV logger would find it in use if W&B came first.
    _ = csv.experiment
    if settings.wandb == "disabled":
        return [csv]
    logger = WandbLogger(
        name=f"{csv.name}/version_{csv.version}",
        save_dir=Path(csv.log_dir).absolute(),  # W&B's own process may have been started in another folder
        project=settings.project,
        group=settings.group,
        tags=settings.tags,
        offline=settings.wandb == "offline",
        settings=wandb.Settings(quiet=True),  # the last thing on the screen is the table of scores
    )
    return [csv, logger]
