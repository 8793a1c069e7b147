"""A study as a W&B sweep, which agents on any number of machines run."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped, unused-ignore]

from camtrain.files import write_whole
from camtrain.study import Axis, Study, StudyPlan, Trial


def sweep_config(plan: StudyPlan, command: Sequence[str]) -> dict[str, Any]:
    """The sweep file's content: the same grid, each point of which an agent runs as one trial of the study.

    Args:
        plan: The plan of the study.
        command: The words of `camtrain ablate` that the agents add `--point KEY=VALUE ...` to.

    Source:
        W&B's sweep configuration: `${args_no_hyphens}` becomes `KEY=VALUE` for each parameter.
    """
    parameters = {axis.key: {"values": list(axis.values)} for axis in plan.axes}
    return {
        "name": plan.name,
        "project": plan.project,
        "method": "grid",
        "metric": {"name": "val/accuracy", "goal": "maximize"},
        "parameters": parameters | {"seed": {"values": list(plan.seeds)}},
        "command": [*command, "--point", "${args_no_hyphens}"],
    }


def write_sweep(study: Study, words: Sequence[str]) -> str:
    """Write `sweep.yaml` to the folder of a study.

    Args:
        study: The study, written to disk.
        words: The words of `camtrain ablate` that made the study.

    Returns:
        What to do with the file, in words.
    """
    folder, project = study.folder.absolute(), study.plan.project
    # Agents may be started in any folder.
    places = ["--config", str(Path(study.plan.config).absolute()), "--out", str(folder)]
    command = ["camtrain", "ablate", *words, *places, "--threads", str(study.plan.threads), "--wandb", "online"]
    path = study.folder / "sweep.yaml"
    write_whole(path, yaml.safe_dump(sweep_config(study.plan, command), sort_keys=False))
    return (
        f"{path}: make the sweep once, and start agents wherever {study.folder} is under the same path:\n\n"
        f"  wandb sweep --project {project} {shlex.quote(str(path))}\n"
        f"  wandb agent ENTITY/{project}/SWEEP_ID\n\n"
        f"Once they are done: {shlex.join(['camtrain', 'ablate', *words])}"
    )


def point_of(study: Study, point: Sequence[str]) -> Trial:
    """The trial that an agent of a sweep is to run.

    Args:
        study: The study.
        point: `KEY=VALUE` for each key of the grid, and `seed=S`, as the agent writes them.

    Raises:
        ValueError: If no trial has these values.
    """
    chosen = {}
    for word in point:
        key, _, text = word.partition("=")
        if not text:
            raise ValueError(f"`point`: expected KEY=VALUE, got {word!r}")
        # W&B's agent writes values as Python does.
        try:
            chosen[key] = None if text == "None" else Axis.parsed(word).values[0]
        except ValueError as error:
            raise ValueError(str(error).replace("`grid`", "`point`")) from error
    keys = {axis.key for axis in study.plan.axes}
    for trial in study.trials:
        of_grid = {key: value for key, value in trial.point.items() if key in keys}
        if {**of_grid, "seed": trial.seed}.items() <= chosen.items():
            return trial
    raise ValueError(f"`point`: expected a value of the grid for each key and a seed, got {' '.join(point)}")
