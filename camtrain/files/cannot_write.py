"""What is said where a file cannot be written: the disk is full, the folder is read-only, a quota is used up."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# What torch's own writer says in a RuntimeError where the system's reason is lost.
_TORCH_WRITER = ("inline_container", "PytorchStreamWriter")


class CannotWriteError(OSError):
    """A file cannot be written. The message names its folder, the reason and the free space."""


@contextmanager
def named_if_unwritable(path: Path) -> Iterator[None]:
    """Turn an error of writing a file into a `CannotWriteError` that names the folder and its free space.

    Errors of other files, such as one that is read meanwhile, pass as they are.

    Args:
        path: The file that is written, or removed.

    Raises:
        CannotWriteError: If it cannot be written; `errno` is that of the system's error.

    Example:
        >>> import errno
        >>> with named_if_unwritable(Path("study") / "a.csv"):  # doctest: +ELLIPSIS
        ...     raise OSError(errno.ENOSPC, "No space left on device")
        Traceback (most recent call last):
        ...
        camtrain.files.cannot_write.CannotWriteError: cannot write a.csv to study: No space left on device (... free)
    """
    try:
        yield
    except CannotWriteError:
        raise
    except OSError as error:
        if not _is_about(error, path):
            raise
        raise _cannot_write(path, error.strerror or str(error), error.errno) from error
    except RuntimeError as error:
        if not any(word in str(error) for word in _TORCH_WRITER):
            raise
        raise _cannot_write(path, "it could not be written to its end", None) from error


def _is_about(error: OSError, path: Path) -> bool:
    """Whether an error is about a file, its temporary neighbor or a folder above; an error of a write names none."""
    if error.filename is None:
        return True
    named = Path(os.fsdecode(error.filename)).absolute()
    return named.parent == path.absolute().parent or named in path.absolute().parents


def _cannot_write(path: Path, why: str, number: int | None) -> CannotWriteError:
    made = CannotWriteError(f"cannot write {path.name} to {path.parent}: {why} ({_free_space(path)} free)")
    made.errno = number
    return made


def _free_space(path: Path) -> str:
    """The space that is left where a file is to be, in words."""
    folder = next((each for each in path.absolute().parents if each.is_dir()), Path("/"))
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return "an unknown space"
    return f"{free / 1e9:.1f} GB" if free >= 1e9 else f"{free / 1e6:.1f} MB"
