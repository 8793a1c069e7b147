"""The table of a study, in W&B."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import wandb

from camtrain.messages import CamtrainWarning
from camtrain.runs.guarded_run import reason
from camtrain.runs.wandb_mode import wandb_mode
from camtrain.runs.wandb_run import opened_run
from camtrain.study import Study


def log_study(study: Study, pictures: Sequence[Path] = ()) -> Path | None:
    """Log all rows as the table `results` of a run `summary` in the study's group.

    Args:
        study: A study with finished trials.
        pictures: PNG files that are logged beside the table, by their names.

    Returns:
        The run's folder, where it is offline; `None` if W&B takes no part.

    Warns:
        CamtrainWarning: If W&B does not take them.
    """
    plan, rows = study.plan, study.rows()
    mode = wandb_mode(plan.wandb)
    if mode == "disabled" or not rows:
        return None
    columns: list[str | int] = list(dict.fromkeys(column for row in rows for column in row))
    run = opened_run(
        mode,
        study.folder.absolute(),
        "results.csv and figures/ have everything",
        project=plan.project,
        group=plan.name,
        name=f"{plan.name}/summary",
        job_type="summary",
        config={"plan": plan.as_json()},
        settings=wandb.Settings(silent=True),  # what to do with it is printed by the command
    )
    if run.disabled:
        return None
    # Columns of W&B's tables have one type; values of the grid may be of several.
    keys = {key for trial in study.reported for key in trial.point}
    table = [[str(row.get(str(each))) if each in keys else row.get(str(each)) for each in columns] for row in rows]
    run.log({"results": wandb.Table(columns=columns, data=table)})
    for path in pictures:
        _log_picture(run, path)
    run.finish()
    return Path(run.dir).parent if run.offline else None


def _log_picture(run: Any, path: Path) -> None:
    try:
        picture = wandb.Image(str(path))  # W&B copies it
    except Exception as error:  # W&B raises almost anything
        warnings.warn(f"W&B: {reason(error)}; it does not get {path}", CamtrainWarning, stacklevel=3)
        return
    run.log({path.stem: picture})
