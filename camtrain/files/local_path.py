"""Paths of files on this machine, where somebody may give an address."""

from __future__ import annotations

import re
from pathlib import Path

# What fsspec and Lightning take for an address: `http://…`, `file:///…`, `simplecache::s3://…`, `data:…`. `Path` makes
# one slash of two. One letter and a colon is a drive of Windows.
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:(?:/|:)|data:|registry:", re.IGNORECASE)


def local_path(source: str | Path, argument: str) -> Path:
    """The path of a file or folder on this machine. An address is refused: nothing is downloaded.

    Args:
        source: What was given as a path.
        argument: The argument to name.

    Raises:
        ValueError: If it is an address, of whatever scheme.

    Example:
        >>> local_path("runs/quickstart", "checkpoint").as_posix()
        'runs/quickstart'
        >>> local_path("s3://models/best.ckpt", "checkpoint")
        Traceback (most recent call last):
        ValueError: `checkpoint`: expected a path on this machine, got s3://models/best.ckpt; download it first, and
        pass the path of the file
    """
    path = Path(source)
    if is_address(source) and not path.exists():
        address = re.sub(r"^([^:/]+):/(?=[^/])", r"\1://", str(source))
        raise ValueError(
            f"`{argument}`: expected a path on this machine, got {address}; download it first, and pass the path of "
            "the file"
        )
    return path


def is_address(text: str | Path) -> bool:
    """Whether a text is an address rather than a path.

    Example:
        >>> [text for text in ("file:///a", "data:,a", "C:/a", "a/b:/c", "simplecache::s3://a") if is_address(text)]
        ['file:///a', 'data:,a', 'simplecache::s3://a']
    """
    return bool(_ADDRESS.match(str(text)))
