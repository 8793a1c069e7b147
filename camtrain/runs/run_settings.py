"""Where a run is written, and how W&B takes part."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from camtrain.files import local_folder
from camtrain.runs.checkpoint_artifact import check_aliases

_LONGEST_NAME = 200  # file systems take 255 bytes, W&B and Lightning add to the name


@dataclass
class RunSettings:
    """Where a run is written, and how W&B takes part. They hold unless `trainer.logger` names loggers of its own.

    Args:
        folder: The parent folder of all runs; each is written to `<folder>/<name>/version_<k>`.
        name: The name of the run, such as `plain` or `study/plain`; null is the name of the (last) configuration file.
        wandb: `offline` writes a run that can be synced later, `online` streams it, `disabled` writes none. The
            environment variable WANDB_MODE, if it is set, has precedence over `offline` and `online`.
        project: W&B's project.
        group: W&B's group, such as the study that the run belongs to.
        tags: W&B's tags.
        notes: W&B's notes, such as what is tried in this run.
        wandb_checkpoint: Aliases with which W&B gets the best checkpoint as an artifact when the training ends, such as
            `[best]`; an empty list hands no checkpoint over.
        test: True if `fit` ends with the scores of its best checkpoint on the test set.
        resume: True resumes the newest run of this name from its last checkpoint, as if it had not been stopped, or
            from the newest good one if that is damaged. Network, data and seed must match those of the run. Without a
            checkpoint a new run starts.

    Raises:
        ValueError: If the folder is a file, the name leads out of it, or W&B does not take an alias.
    """

    folder: str = "runs"
    name: str | None = None
    wandb: Literal["offline", "online", "disabled"] = "offline"
    project: str = "camtrain"
    group: str | None = None
    tags: list[str] = field(default_factory=list)
    notes: str | None = None
    wandb_checkpoint: list[str] = field(default_factory=list)
    test: bool = True
    resume: bool = False

    def __post_init__(self) -> None:
        self.folder = str(local_folder(self.folder, "run.folder"))
        if self.name is not None:
            check_run_name(self.name)
        check_aliases(self.wandb_checkpoint)

    def runs_of(self, name: str) -> Path:
        """The folder of all versions of the run.

        Args:
            name: The name of the run where the settings have none.
        """
        return Path(self.folder, self.name or name)


def check_run_name(name: str) -> None:
    """Check that the name of a run leads to a folder below that of all runs.

    Raises:
        ValueError: If it leads elsewhere, or no file system has such a folder.

    Example:
        >>> check_run_name("study/plain_seed0")
        >>> check_run_name("../outside")
        Traceback (most recent call last):
        ValueError: `run.name`: expected a name, or several with / between, without an empty one, ., .. and unprintable
        characters, each of at most 200 bytes, got '../outside'; `run.folder` may be anywhere
    """
    parts = name.replace("\\", "/").split("/")
    if (
        name.isprintable()
        and not any(part.strip() in ("", ".", "..") for part in parts)
        and not re.match(r"[A-Za-z]:", name)
        and all(len(part.encode()) <= _LONGEST_NAME for part in parts)
    ):
        return
    shown = name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…"
    raise ValueError(
        "`run.name`: expected a name, or several with / between, without an empty one, ., .. and unprintable "
        f"characters, each of at most {_LONGEST_NAME} bytes, got {shown!r}; `run.folder` may be anywhere"
    )
