"""Files that are there as a whole or not at all, whenever the process or the machine stops."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write a file in one step: a reader sees the old text or the new one.

    Args:
        path: of the file; its folder is made.
        text: its content.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Several processes may write the same file.
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    with unfinished.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(unfinished, path)
