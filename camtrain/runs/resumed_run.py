"""The run that `fit` goes on with, and its newest checkpoint that is good."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped, unused-ignore]

from camtrain.files import set_aside
from camtrain.messages import CamtrainWarning
from camtrain.networks.checkpoint_file import checkpoint_content
from camtrain.runs.checkpoint_io import LAST, PREVIOUS
from camtrain.runs.early_end import STOPPED
from camtrain.runs.first_process import is_first_process
from camtrain.runs.metrics_table import Row
from camtrain.runs.run_lock import RunLock
from camtrain.runs.table_keeper import rows_in_checkpoint

CONFIG = "camtrain_config"
"""The key of a checkpoint under which the settings of its run are that a resumed run must have, too, as JSON."""

COMPARED = ("seed_everything", "model", "data")
"""These settings, as keys of the configuration."""

_NEEDED = ("state_dict", "optimizer_states", "lr_schedulers", "callbacks", "loops", "global_step")


@dataclass(frozen=True)
class ResumedRun:
    """A run to go on with.

    Attributes:
        checkpoint: The checkpoint to go on from.
        steps: The number of steps that it was trained for.
        rows: The rows of `metrics.csv` up to it; `None` if it is of an earlier version, which did not keep them.
        config: The configuration of the run; `None` if it is not known, because the checkpoint is of an earlier version
            and `config.yaml` is gone or damaged.
        stopped_with: The settings of its callbacks if one of them had stopped it there; otherwise `None`.
    """

    checkpoint: Path
    steps: int
    rows: list[Row] | None
    config: Mapping[str, Any] | None
    stopped_with: list[Any] | None

    @property
    def folder(self) -> Path:
        """The folder of the run, `version_<k>`."""
        return self.checkpoint.parents[1]

    @property
    def version(self) -> int:
        """The number of the version."""
        return _number(self.folder)


def resumed_run(folder: Path, lock: RunLock | None = None) -> ResumedRun | None:
    """The newest run in a folder that can be gone on with.

    Damaged files of a run are set aside, with a warning that says what takes their place.

    Args:
        folder: The folder of all versions of a run.
        lock: Takes the lock of the run before its files are touched; `None` leaves it.

    Returns:
        The run; `None` if no version has a good checkpoint.

    Raises:
        ValueError: If another process trains the newest version.

    Warns:
        CamtrainWarning: If a file is damaged or gone.
    """
    versions = [path for path in folder.glob("version_*") if _number(path) >= 0]
    for version in sorted(versions, key=_number, reverse=True):
        if lock is not None:
            lock.take(version)
        checkpoints = version / "checkpoints"
        _remove_unfinished(checkpoints)
        if any(_all_in(checkpoints)) and (found := _newest_good(checkpoints)):
            path, content = found
            config, rows = _config(version, content), rows_in_checkpoint(content)
            stopped_with = json.loads(content[STOPPED]) if STOPPED in content else None
            return ResumedRun(path, int(content["global_step"]), rows, config, stopped_with)
        if lock is not None:
            lock.let_go(version)
    return None


def _number(version: Path) -> int:
    number = version.name.removeprefix("version_")
    return int(number) if number.isdecimal() else -1


def _newest_good(checkpoints: Path) -> tuple[Path, dict[str, Any]] | None:
    """The newest checkpoint that can be gone on from, and its content."""
    lost = [] if (checkpoints / LAST).exists() else [f"{checkpoints / LAST} is gone"]
    for path in (checkpoints / LAST, checkpoints / PREVIOUS):
        if content := _good_content(path, lost):
            _say(lost, path, content)
            return path, content
    others = [(path, _good_content(path, lost)) for path in _all_in(checkpoints)]
    good = [(path, content) for path, content in others if content]
    if not good:
        _say([*lost, f"no checkpoint in {checkpoints} can be gone on from"])
        return None
    path, content = max(good, key=lambda each: int(each[1]["global_step"]))
    # A kill in the first epoch may come after its best checkpoint and before its last one, which are the same.
    if len(lost) > 1 or len(good) > 1 or (checkpoints / PREVIOUS).exists() or int(content["epoch"]):
        _say(lost, path, content)
    return path, content


def _all_in(checkpoints: Path) -> list[Path]:
    """All checkpoints in a folder, without those that are being written."""
    return sorted(checkpoints.glob("[!.]*.ckpt"))


def _good_content(path: Path, lost: list[str]) -> dict[str, Any]:
    """The content of a checkpoint, empty if it cannot be gone on from; one that is damaged is set aside and noted."""
    if not path.exists():
        return {}
    try:
        content = checkpoint_content(path)
        if not content:
            raise ValueError("it is no checkpoint")
        missing = [key for key in _NEEDED if key not in content]
        if missing and path.name in (LAST, PREVIOUS):  # the others may be of weights alone
            raise ValueError(f"it has no {missing[0]!r}, without which a training cannot go on")
    except ValueError as error:  # an OSError does not say that the file is damaged: it may be read the next time
        reason = str(error).removeprefix("`checkpoint`: ").partition(";")[0]
        lost.append(f"{path} is damaged ({reason}) and kept as {_aside(path)}")
        return {}
    return {} if missing else content


def _aside(path: Path) -> str:
    """The name that a damaged file has from now on; of several processes, the first one renames it."""
    if not is_first_process():
        return f"{path.name}.damaged"
    return set_aside(path).name


def _say(lost: list[str], path: Path | None = None, content: Mapping[str, Any] | None = None) -> None:
    if not lost or not is_first_process():
        return
    place = f"the run goes on from {path.name}, after step {content['global_step']}" if path and content else ""
    warnings.warn("; ".join(filter(None, [*lost, place])), CamtrainWarning, stacklevel=4)


def _config(version: Path, content: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The configuration of a run. If `config.yaml` is not that of the checkpoint, it is set aside."""
    path = version / "config.yaml"
    kept = json.loads(content[CONFIG]) if CONFIG in content else None
    try:
        found = OmegaConf.to_container(OmegaConf.load(path))
        if not isinstance(found, dict) or not {"model", "data"} <= found.keys():
            raise ValueError("it has no `model` and no `data`")
        if kept is None or all(found.get(key) == value for key, value in kept.items()):
            return found  # type: ignore[return-value]  # its keys are words
        reason = "it is not the configuration of the checkpoint"
    except FileNotFoundError:
        lost = f"{path} is gone"
    except (OmegaConfBaseException, YAMLError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())
    if path.exists():
        lost = f"{path} is damaged ({reason}) and kept as {_aside(path)}"
    rest = (
        "written again as the checkpoint has it"
        if kept is not None
        else ("written again from the settings given now, which cannot be compared with those of the run")
    )
    _say([f"{lost}; it is {rest}"])
    return kept


def _remove_unfinished(checkpoints: Path) -> None:
    """Remove the parts of checkpoints that killed processes have left."""
    for path in checkpoints.glob(".*.ckpt"):
        pid = path.name.split(".")[1]
        if is_first_process() and pid.isdecimal() and not _is_alive(int(pid)):
            path.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    with suppress(ProcessLookupError, OverflowError):
        with suppress(PermissionError):  # somebody else's
            os.kill(pid, 0)
        return True
    return False
