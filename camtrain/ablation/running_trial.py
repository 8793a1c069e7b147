"""Which trials are running, and how far each is: a small file in the folder of each of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from camtrain.runs import TrainingProgress

_FILE = ".progress.json"


def progress_file(folder: Path) -> Path:
    """The file of a trial.

    Args:
        folder: The folder of the trial.
    """
    return folder.absolute() / _FILE


def progress_of(folder: Path) -> TrainingProgress | None:
    """How far a trial is; `None` if it is not running.

    Args:
        folder: The folder of the trial.
    """
    return TrainingProgress.read(progress_file(folder))


def note_phase(folder: Path, phase: str) -> None:
    """Say what a trial does now, if it is noted as running.

    Args:
        folder: The folder of the trial.
        phase: In a word or two, such as `scoring maps`.
    """
    path = progress_file(folder)
    if path.is_file():
        TrainingProgress(phase, done=1.0).write(path)


@contextmanager
def noted_as_running(folder: Path) -> Iterator[None]:
    """A context in which a trial is running.

    Args:
        folder: The folder of the trial.
    """
    path = progress_file(folder)
    TrainingProgress().write(path)
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)
