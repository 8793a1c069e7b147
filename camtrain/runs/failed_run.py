"""What a run that fails leaves behind: no empty folder if it never began, otherwise its traceback."""

from __future__ import annotations

import shutil
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from camtrain.files import LOCK, write_whole
from camtrain.runs.stopped import TrainingStoppedError

_BEFORE_THE_START = {"config.yaml", "hparams.yaml", LOCK}
_TRACEBACK = "traceback.txt"


@contextmanager
def failed_run(folders: Callable[[], Sequence[Path]], has_begun: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Tidy up after an error, which passes on with a note that says where its traceback was written.

    Args:
        folders: From nothing to the folder of the run, and those above it that the run made; none before it has one.
        has_begun: From nothing to whether the run has trained, which keeps its folder.

    Example:
        >>> import tempfile
        >>> run = Path(tempfile.mkdtemp()) / "version_0"
        >>> run.mkdir()
        >>> try:
        ...     with failed_run(lambda: [run]):
        ...         raise ValueError("no")
        ... except ValueError:
        ...     run.exists()
        False
    """
    try:
        yield
    except TrainingStoppedError:  # that is no failure
        raise
    except Exception as error:
        made = folders()
        if made and made[0].is_dir():
            if has_begun() or _has_results(made[0]):
                _write_traceback(made[0] / _TRACEBACK, error)
            else:
                shutil.rmtree(made[0], ignore_errors=True)
                _remove_empty(made[1:])
        raise


def _has_results(path: Path) -> bool:
    """Whether there is more than a run writes before its first step."""
    files = [each.relative_to(path) for each in path.rglob("*") if each.is_file()]
    return any(file.parts[0] != "wandb" and str(file) not in _BEFORE_THE_START for file in files)


def _write_traceback(path: Path, error: Exception) -> None:
    try:
        write_whole(path, "".join(traceback.format_exception(error)))
    except OSError:  # the disk may be what failed
        return
    error.add_note(f"The traceback is in {path}")


def _remove_empty(folders: Sequence[Path]) -> None:
    for each in folders:
        try:
            each.rmdir()
        except OSError:  # another run is there by now
            return
