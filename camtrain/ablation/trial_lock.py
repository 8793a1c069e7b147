"""No two processes run the same trial."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from camtrain.files import LOCK, CannotWriteError, NoLocksError, named_if_unwritable, taken_lock


@contextmanager
def trial_lock(folder: Path) -> Iterator[int | None]:
    """Hold the lock of a trial's folder; the worker inherits it.

    Args:
        folder: The folder of the trial.

    Yields:
        The descriptor of the lock; `None` if another process holds it.

    Raises:
        CannotWriteError: If the lock cannot be made, or there are no locks.
    """
    try:
        with named_if_unwritable(folder / LOCK):
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = taken_lock(folder)
    except NoLocksError as error:
        raise CannotWriteError(
            f"there are no locks in {folder} ({error}), which keep two processes from training the "
            "same trial; choose a folder on another file system"
        ) from error
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)
