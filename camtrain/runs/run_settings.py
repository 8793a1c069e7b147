"""Where a run is written, and how W&B takes part."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass
class RunSettings:
    """Where a run is written, and how W&B takes part. They hold unless `trainer.logger` names loggers of its own.

    Args:
        folder: The parent folder of all runs; each is written to `<folder>/<name>/version_<k>`.
        name: The name of the run; null is the name of the (last) configuration file.
        wandb: `offline` writes a run that can be synced later, `online` streams it, `disabled` writes none.
        project: W&B's project.
        group: W&B's group, such as the study that the run belongs to.
        tags: W&B's tags.
        test: True if `fit` ends with the scores of its best checkpoint on the test set.
        resume: True resumes the newest run of this name from its last checkpoint, as if it had not been stopped.
            Network, data and seed must match its `config.yaml`. Without a checkpoint a new run starts.
    """

    folder: str = "runs"
    name: str | None = None
    wandb: Literal["offline", "online", "disabled"] = "offline"
    project: str = "camtrain"
    group: str | None = None
    tags: list[str] = field(default_factory=list)
    test: bool = True
    resume: bool = False

    def last_checkpoint(self, name: str) -> Path | None:
        """The checkpoint to go on from, that of the newest version with one; `None` where there is none.

        Args:
            name: The name of the run where the settings have none.
        """
        found = Path(self.folder, self.name or name).glob("version_*/checkpoints/last.ckpt")
        return max(found, key=lambda path: int(path.parts[-3].removeprefix("version_")), default=None)
