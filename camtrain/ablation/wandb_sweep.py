"""A study as a W&B sweep, which agents on any number of machines run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from camtrain.study import Asked


def sweep_config(asked: Asked, command: Sequence[str]) -> dict[str, Any]:
    """The sweep file's content: the same grid, each point of which an agent runs as one trial of the study.

    Args:
        asked: of the study.
        command: the words of `camtrain ablate` that the agents add `--point KEY=VALUE ...` to.

    Source:
        W&B's sweep configuration: `${args_no_hyphens}` becomes `KEY=VALUE` for each parameter.
    """
    parameters = {axis.key: {"values": list(axis.values)} for axis in asked.axes}
    return {
        "name": asked.name,
        "project": asked.project,
        "method": "grid",
        "metric": {"name": "val/accuracy", "goal": "maximize"},
        "parameters": parameters | {"seed": {"values": list(asked.seeds)}},
        "command": [*command, "--point", "${args_no_hyphens}"],
    }
