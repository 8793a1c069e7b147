"""No two processes run the same trial."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from camtrain.files import CannotWriteError, named_if_unwritable


@contextmanager
def trial_lock(folder: Path) -> Iterator[int | None]:
    """Hold the lock of a trial's folder.

    The kernel lets it go when the last process that inherited it is gone, so that no lock is ever left behind. Machines
    that share the folder share the lock.

    Args:
        folder: The folder of the trial.

    Yields:
        The descriptor of the lock; `None` if another process holds it.

    Raises:
        CannotWriteError: If the lock cannot be made, or the file system has none.
    """
    with named_if_unwritable(folder / ".lock"):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        except OSError as error:
            raise CannotWriteError(
                f"the file system of {folder} has no locks ({error.strerror}), which keep two processes from training "
                "the same trial; choose a folder of another one"
            ) from error
        yield descriptor
    finally:
        os.close(descriptor)
