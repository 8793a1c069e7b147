"""No two processes train the same run at the same time."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from camtrain.files import NoLocksError, taken_lock
from camtrain.runs.first_process import is_first_process

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
        # Lightning numbers the processes of each machine anew where only their number on the machine is known.
        if not is_first_process() or int(os.environ.get("NODE_RANK") or 0) > 0 or folder in self._held:
            return
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                descriptor = taken_lock(folder)
            except (NoLocksError, OSError):  # what cannot be written is named where it is written
                return
            if descriptor is not None:
                self._held[folder] = descriptor
                return
            if time.monotonic() >= end:
                raise ValueError(
                    f"`run.resume`: {folder} is being trained by another process; wait until it has ended, or stop it"
                )
            time.sleep(_PATIENCE / 100)

    def let_go(self, folder: Path) -> None:
        """Let the lock of a run go, if it is held."""
        if (descriptor := self._held.pop(folder, None)) is not None:
            os.close(descriptor)
