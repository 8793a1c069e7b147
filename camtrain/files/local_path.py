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
        raise ValueError(
            f"`{argument}`: expected a path on this machine, got {_whole_address(source)}; download it first, and pass "
            "the path of the file"
        )
    return path


def local_folder(source: str | Path, argument: str) -> Path:
    """The path of a folder on this machine that is there or can be made: neither an address nor a file.

    Args:
        source: What was given as a folder.
        argument: The argument to name.

    Raises:
        ValueError: If it is an address or a file, or lies below a file.

    Example:
        >>> local_folder("runs/quickstart", "folder").as_posix()
        'runs/quickstart'
        >>> local_folder("https://example.com/study", "folder")
        Traceback (most recent call last):
        ValueError: `folder`: expected a folder on this machine, got the address https://example.com/study, and
        addresses are not read
    """
    path = Path(source)
    if is_address(source) and not path.exists():
        raise ValueError(
            f"`{argument}`: expected a folder on this machine, got the address {_whole_address(source)}, and "
            "addresses are not read"
        )
    file = next((each for each in (path, *path.parents) if each.exists() and not each.is_dir()), None)
    if file is not None:
        below = "" if file == path else f", of which {path} would be a part"
        raise ValueError(f"`{argument}`: expected a folder, got the file {file}{below}")
    return path


def _whole_address(source: str | Path) -> str:
    """An address with both of its slashes, of which `Path` leaves one."""
    return re.sub(r"^([^:/]+):/(?=[^/])", r"\1://", str(source))


def is_address(text: str | Path) -> bool:
    """Whether a text is an address rather than a path.

    Example:
        >>> [text for text in ("file:///a", "data:,a", "C:/a", "a/b:/c", "simplecache::s3://a") if is_address(text)]
        ['file:///a', 'data:,a', 'simplecache::s3://a']
    """
    return bool(_ADDRESS.match(str(text)))
