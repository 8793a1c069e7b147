"""What may happen to a file: it is gone, empty, cut off, or a byte of it is another one."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path


def remove(path: Path, draw: random.Random) -> None:
    """Delete a file."""
    path.unlink()


def empty(path: Path, draw: random.Random) -> None:
    """Leave nothing in a file, as a full disk does."""
    path.write_bytes(b"")


def cut(path: Path, draw: random.Random) -> None:
    """Cut a file off somewhere, as a kill in the middle of a copy does."""
    content = path.read_bytes()
    path.write_bytes(content[: draw.randrange(1, len(content))] if len(content) > 1 else b"")


def flip(path: Path, draw: random.Random) -> None:
    """Flip a bit of a file, as a bad disk does."""
    content = bytearray(path.read_bytes())
    if content:
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


DAMAGES: dict[str, Callable[[Path, random.Random], None]] = {
    "gone": remove,
    "empty": empty,
    "cut": cut,
    "flipped": flip,
}
"""From what happened to a file to a function that does it."""
