"""Files that are there as a whole or not at all, whenever the process or the machine stops."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from camtrain.files.cannot_write import named_if_unwritable


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Write a file of any kind in one step: a reader sees the old file or the new one, never a part.

    Args:
        path: The file; its folder is made.

    Yields:
        A path in the same folder to write to. After an error the file at `path` is as it was.

    Raises:
        CannotWriteError: If the file cannot be written. The message names the folder and its free space.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with whole_file(folder / "numbers.txt") as unfinished:
        ...     _ = unfinished.write_text("1 2 3")
        >>> [path.name for path in folder.iterdir()]
        ['numbers.txt']
    """
    with named_if_unwritable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    # Several processes may write the same file. The suffix stays, since some writers go by it.
    unfinished = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        with named_if_unwritable(path):
            yield unfinished
            with unfinished.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(unfinished, path)
    finally:
        with suppress(OSError):  # what is wrong with the folder has been said
            unfinished.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Write a text file in one step, as UTF-8 and with the line ends that the text has.

    Half of a surrogate pair, which JSON can hold and UTF-8 cannot, is written as `?`.

    Args:
        path: The file; its folder is made.
        text: Its content.

    Raises:
        CannotWriteError: If the file cannot be written.
    """
    with whole_file(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8", errors="replace", newline="")
