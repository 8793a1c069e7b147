"""Paths of files on this machine, where somebody may give an address."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

# What fsspec and Lightning take for an address: `http://…`, `file:///…`, `simplecache::s3://…`, `data:…`. `Path` makes
# one slash of two. One letter and a colon is a drive of Windows.
_LONGEST = 100  # characters of a path that cannot be one
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:(?:/|:)|data:|registry:", re.IGNORECASE)


def local_path(source: str | Path, argument: str) -> Path:
    """The path of a file or folder on this machine. An address is refused: nothing is downloaded.

    Args:
        source: What was given as a path.
        argument: The argument to name.

    Raises:
        TypeError: If it is no path.
        ValueError: If it is an address, of whatever scheme, or empty, or no file can have that name.

    Example:
        >>> local_path("runs/quickstart", "checkpoint").as_posix()
        'runs/quickstart'
        >>> local_path("s3://models/best.ckpt", "checkpoint")
        Traceback (most recent call last):
        ValueError: `checkpoint`: expected a path on this machine, got s3://models/best.ckpt; download it first, and
        pass the path of the file
    """
    path = given_path(source, argument)
    if is_address(source) and not path.exists():
        raise ValueError(
            f"`{argument}`: expected a path on this machine, got {_whole_address(source)}; download it first, and pass "
            "the path of the file"
        )
    return path


def given_path(source: str | Path, argument: str) -> Path:
    """What was given as a path as one, whether or not there is something. A `~` at its beginning is the home folder.

    Args:
        source: What was given as a path.
        argument: The argument to name.

    Raises:
        TypeError: If it is no path.
        ValueError: If it is empty, or no file can have that name.

    Example:
        >>> given_path("", "checkpoint")
        Traceback (most recent call last):
        ValueError: `checkpoint`: expected a path, got an empty text
    """
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(f"`{argument}`: expected a path, got {source!r}")
    text = str(source)
    if not text.strip():
        raise ValueError(f"`{argument}`: expected a path, got an empty text")
    if "\0" in text:
        raise ValueError(f"`{argument}`: expected a path, got {text[:_LONGEST]!r}, with a NUL in it")
    try:
        Path(source).exists()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise ValueError(f"`{argument}`: expected a path, got {text[:_LONGEST]}…: {error.strerror}") from error
    return Path(source).expanduser()


def local_folder(source: str | Path, argument: str) -> Path:
    """The path of a folder on this machine that is there or can be made: neither an address nor a file.

    Args:
        source: What was given as a folder.
        argument: The argument to name.

    Raises:
        TypeError: If it is no path.
        ValueError: If it is an address or a file, lies below a file, is empty, or no folder can have that name.

    Example:
        >>> local_folder("runs/quickstart", "folder").as_posix()
        'runs/quickstart'
        >>> local_folder("https://example.com/study", "folder")
        Traceback (most recent call last):
        ValueError: `folder`: expected a folder on this machine, got the address https://example.com/study, and
        addresses are not read
    """
    path = given_path(source, argument)
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
