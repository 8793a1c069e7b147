"""How the running of a trial ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from camtrain.study import Study

Status = Literal["finished", "was finished", "failed", "stopped", "held"]


@dataclass(frozen=True)
class Outcome:
    """How the running of a trial ended.

    Attributes:
        trial: The name of the trial.
        status: `finished` now, or it `was finished` before, or it `failed`; `stopped` if a signal or this call stopped
            it before its end; `held` if another process runs it.
        seconds: How long it took.
        log: The log of what did not finish.
        message: What went wrong.
    """

    trial: str
    status: Status
    seconds: float = 0.0
    log: Path | None = None
    message: str = ""

    @property
    def is_finished(self) -> bool:
        """Whether the trial is finished."""
        return self.status in ("finished", "was finished")


class Executor(Protocol):
    """Runs all trials of a study. Anything that is called like this can be given to `ablate`."""

    def __call__(self, study: Study, on_trial: Callable[[Outcome], None]) -> list[Outcome]:
        """Run the trials of a study that is on disk.

        Args:
            study: The study; `camtrain.ablation.run_trial` runs one of its trials.
            on_trial: To be called with the outcome of each trial, one at a time.

        Returns:
            The outcomes, in the order of the trials.
        """
