"""The lock of a folder, which one process holds at a time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

try:
    import fcntl

    _LOCKS: Any = fcntl
except ModuleNotFoundError:  # on Windows
    _LOCKS = None

LOCK = ".lock"
"""The file in the folder that is locked."""


class NoLocksError(Exception):
    """The file system, or the operating system, has no locks of files."""


def taken_lock(folder: Path) -> int | None:
    """Take the lock of a folder.

    The kernel lets it go when the last process that inherited it is gone, so that no lock is ever left behind. Machines
    that share the folder share the lock.

    Args:
        folder: The folder, which is there.

    Returns:
        The descriptor, which `os.close` lets go; `None` if another process holds the lock.

    Raises:
        NoLocksError: If there are no locks.
        OSError: If the file cannot be made.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> descriptor = taken_lock(folder)
        >>> taken_lock(folder) is None
        True
        >>> os.close(descriptor)
    """
    if _LOCKS is None:
        raise NoLocksError("this operating system has none")
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _LOCKS.flock(descriptor, _LOCKS.LOCK_EX | _LOCKS.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            return None
        raise NoLocksError(error.strerror) from error
    return descriptor
