"""Lightning's logger for W&B, without its power to end a training."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import wandb
from lightning_fabric.loggers.logger import rank_zero_experiment
from pytorch_lightning.loggers import Logger, WandbLogger

from camtrain.runs.guarded_run import UPLOAD_LIMIT, Guard, GuardedRun, NoRun
from camtrain.runs.wandb_mode import Mode
from camtrain.runs.wandb_run import opened_run

_COMPLETE = "metrics.csv and panels/ have everything"


class GuardedWandbLogger(WandbLogger):
    """Logs to W&B as Lightning's logger does, whatever W&B does.

    The run is opened when it is first needed. If the server cannot be reached or no API key is known, it is offline; if
    W&B cannot write it, there is none. A call that fails later is warned about once, and the training goes on.

    Args:
        folder: The folder in which W&B makes its own, `wandb`.
        mode: W&B's mode.
        run_id: The id of the run to go on with; `None` begins a new one.
        init: Further arguments of `wandb.init`.
    """

    def __init__(self, folder: Path, mode: Mode, run_id: str | None = None, **init: Any) -> None:
        super().__init__(save_dir=folder, version=run_id, **init)
        self._mode: Mode = mode

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The run, with all methods of W&B's; it is opened if need be."""
        if self._experiment is None:
            self._experiment = self._opened()
            self._experiment.define_metric("trainer/global_step")
            self._experiment.define_metric("*", step_metric="trainer/global_step", step_sync=True)
        return self._experiment

    def _opened(self) -> Any:
        # Lightning sets it where it starts the processes of a training from this one.
        attach_id = getattr(self, "_attach_id", None)
        if wandb.run is not None or attach_id is not None:
            guard = Guard(f"the training goes on, and {_COMPLETE}")
            client: Any = wandb
            run = client.run or guard.call(client._attach, attach_id)
            return NoRun() if run is None else GuardedRun(run, guard)
        init = {name: value for name, value in self._wandb_init.items() if name != "dir"}
        return opened_run(self._mode, Path(self._wandb_init["dir"]), _COMPLETE, **init)

    def finish(self) -> None:
        """Finish the run, if it was opened by this process."""
        run: Any = self._experiment
        if isinstance(run, GuardedRun):
            run.finish()


def finish_wandb(loggers: Iterable[Logger]) -> None:
    """Finish the W&B runs of a training, those of other loggers included; no error of W&B passes.

    Args:
        loggers: The loggers of the training.
    """
    for logger in loggers:
        if isinstance(logger, GuardedWandbLogger):
            logger.finish()
    if wandb.run is not None:
        Guard("`wandb sync` uploads what is left").call(wandb.finish, limit=UPLOAD_LIMIT)
