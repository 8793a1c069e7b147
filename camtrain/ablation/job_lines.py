"""Lines at the foot of a terminal that say what each job does, below a bar for all of them."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from datetime import timedelta

from tqdm import tqdm  # type: ignore[import-untyped, unused-ignore]

from camtrain.runs import TrainingProgress

_SHORTEST_NAME = 12


class JobLines:
    """A line for each running job, under the bar of a study; what else is printed by `tqdm.write` goes above them.

    Args:
        silent: True shows nothing.
    """

    def __init__(self, *, silent: bool) -> None:
        self._silent = silent
        self._lines: list[tqdm] = []

    def show(self, texts: Sequence[str]) -> None:
        """Show these lines in the place of those before.

        Args:
            texts: One for each job.
        """
        if self._silent:
            return
        while len(self._lines) < len(texts):
            position = len(self._lines) + 1
            self._lines.append(
                tqdm(total=0, bar_format="{desc}", position=position, leave=False, dynamic_ncols=True, file=sys.stderr)
            )
        for line, text in zip(self._lines, [*texts, *[""] * len(self._lines)], strict=False):
            line.set_description_str(text)

    def close(self) -> None:
        """Take the lines away."""
        for line in reversed(self._lines):
            line.close()
        self._lines = []


def job_line(name: str, progress: TrainingProgress, width: int | None = None) -> str:
    """What a job does, in a line that fits the terminal: the name is cut, not what comes behind it.

    Args:
        name: The name of the trial.
        progress: How far it is.
        width: The number of columns; `None` is the terminal's.

    Example:
        >>> progress = TrainingProgress("training", 3, 10, 1.2345, 0.25, 83.4)
        >>> job_line("regularizer_weight=0,seed=0", progress)
        '  regularizer_weight=0,seed=0: epoch 3 of 10, loss 1.234, about 0:01:23 left'
        >>> job_line("regularizer_weight=0,seed=0", TrainingProgress())
        '  regularizer_weight=0,seed=0: starting'
    """
    words = _words(progress)
    room = (width or shutil.get_terminal_size().columns) - len(f"  : {words}") - 1
    room = max(_SHORTEST_NAME, room)
    shown = name if len(name) <= room else f"…{name[1 - room :]}"
    return f"  {shown}: {words}"


def clock(seconds: float) -> str:
    """A time as people write it.

    Example:
        >>> clock(83.4)
        '0:01:23'
    """
    return str(timedelta(seconds=round(seconds)))


def _words(progress: TrainingProgress) -> str:
    if progress.phase != "training":
        return progress.phase
    of = f" of {progress.epochs}" if progress.epochs else ""
    loss = "" if progress.loss is None else f", loss {progress.loss:.4g}"
    left = "" if progress.left is None else f", about {clock(progress.left)} left"
    return f"epoch {progress.epoch}{of}{loss}{left}"
