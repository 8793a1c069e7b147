"""A study as a W&B sweep, which agents on any number of machines run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from camtrain.study import StudyPlan


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
