"""The table of a study, in W&B."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import wandb

from camtrain.study import Study


def log_study(study: Study, pictures: Sequence[Path] = ()) -> Path | None:
    """Log all rows as the table `results` of a run `summary` in the study's group.

    Args:
        study: A study with finished trials.
        pictures: PNG files that are logged beside the table, by their names.

    Returns:
        The run's folder, where it is offline; `None` if W&B takes no part.
    """
    plan, rows = study.plan, study.rows()
    if plan.wandb == "disabled" or not rows:
        return None
    columns: list[str | int] = list(dict.fromkeys(column for row in rows for column in row))
    run = wandb.init(
        project=plan.project,
        group=plan.name,
        name=f"{plan.name}/summary",
        job_type="summary",
        dir=str(study.folder.absolute()),
        mode="offline" if plan.wandb == "offline" else "online",
        config={"plan": plan.as_json()},
        settings=wandb.Settings(silent=True),  # what to do with it is printed by the command
    )
    # Columns of W&B's tables have one type; values of the grid may be of several.
    keys = {axis.key for axis in plan.axes}
    table = [[str(row.get(str(each))) if each in keys else row.get(str(each)) for each in columns] for row in rows]
    run.log({"results": wandb.Table(columns=columns, data=table)})
    run.log({path.stem: wandb.Image(str(path)) for path in pictures})
    run.finish()
    return Path(run.dir).parent if plan.wandb == "offline" else None
