"""No two processes train the same run at the same time."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from camtrain.runs.first_process import is_first_process

try:
    import fcntl

    _LOCKS: Any = fcntl
except ModuleNotFoundError:  # on Windows
    _LOCKS = None

LOCK = ".lock"
"""The file in the folder of a run whose lock the process holds that trains it."""
_PATIENCE = 15.0  # seconds in which the workers of a training that was killed have ended, which hold its lock, too


class RunLock:
    """Holds the locks of runs until it is left; the kernel lets them go where the process is killed.

    Two processes that go on with the same run would write the same checkpoints and the same table. Of the processes
    that train together the first one holds the lock. Where the file system has no locks, there is none.

    Example:
        >>> import tempfile
        >>> run = Path(tempfile.mkdtemp())
        >>> with RunLock() as lock:
        ...     lock.take(run)
    """

    def __init__(self) -> None:
        self._held: dict[Path, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for folder in list(self._held):
            self.let_go(folder)

    def take(self, folder: Path) -> None:
        """Take the lock of a run.

        Args:
            folder: The folder of the run, which is there.

        Raises:
            ValueError: If another process holds it.
        """
        if _LOCKS is None or not is_first_process() or folder in self._held:
            return
        try:
            descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError:  # what cannot be written is named where it is written
            return
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                _LOCKS.flock(descriptor, _LOCKS.LOCK_EX | _LOCKS.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() < end:
                    time.sleep(_PATIENCE / 100)
                    continue
                os.close(descriptor)
                raise ValueError(
                    f"`run.resume`: {folder} is being trained by another process; wait until it has ended, or stop it"
                ) from None
            except OSError:  # the file system has no locks
                os.close(descriptor)
                return
            self._held[folder] = descriptor
            return

    def let_go(self, folder: Path) -> None:
        """Let the lock of a run go, if it is held."""
        if (descriptor := self._held.pop(folder, None)) is not None:
            os.close(descriptor)
