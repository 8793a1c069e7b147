"""The runs that an experiment's run.sh made: their scores and their networks."""

from __future__ import annotations

import json
import re
from pathlib import Path

from torch import nn

from camtrain import load_network


def newest_version(run: Path, file: str) -> Path | None:
    """Find a file in the newest version of a run that has it.

    Args:
        run: The folder of the run, which holds a folder `version_*` for each time that the run was made.
        file: The path of the file inside a version.
    """
    found = run.glob(f"version_*/{file}")
    return max(found, key=lambda path: _version(path.relative_to(run)), default=None)


def scores_of(run: Path) -> dict[str, float | None] | None:
    """Read the scores of a run, or of its newest version that has scores; `None` if it has none."""
    path = newest_version(run, "scores.json")
    return None if path is None else json.loads(path.read_text(encoding="utf-8"))


def settings_of(script: Path) -> list[str]:
    """List the settings of a run.sh, whose lines start with their name and a bar, in its order."""
    return re.findall(r'^    "(\w+)\|', script.read_text(encoding="utf-8"), flags=re.MULTILINE)


def runs_by_seed(study: Path, setting: str) -> dict[int, Path]:
    """Find the folders `<setting>_seed<seed>` of a study."""
    found = {run: re.fullmatch(rf"{setting}_seed(\d+)", run.name) for run in study.glob(f"{setting}_seed*")}
    return dict(sorted((int(match[1]), run) for run, match in found.items() if match))


def trained_network(run: Path, *, last: bool = False) -> nn.Module:
    """Load the network of a run's newest version, in evaluation mode. Without a checkpoint, the program ends.

    Args:
        run: The folder of the run.
        last: Whether to load the network of the last epoch, instead of the checkpoint that `fit` tested.
    """
    newest = newest_version(run, "checkpoints/last.ckpt")
    if newest is None:
        raise SystemExit(f"no checkpoint in {run}: the README of the experiment has the command that makes the run")
    return load_network(newest if last else newest.parents[1], device="cpu").network


def _version(path: Path) -> int:
    return int(path.parts[0].removeprefix("version_"))
