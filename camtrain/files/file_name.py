"""Names that came from a file or a user, as the names of files."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

_PLAIN = re.compile(r"[a-z0-9_][a-z0-9_.=,+-]*", flags=re.ASCII)
_LONGEST = 80  # bytes that are kept of a name
_LONGEST_OF_SYSTEM = 255  # bytes of a file's name on every common file system


def file_name(name: str) -> str:
    """A name made safe as part of a file name, on every system: it never leads to another folder.

    A short name of lower-case letters, digits and the signs `_.=,+-` stays as it is. Of any other name, the characters
    that are safe are kept, and a hash of the whole name follows. So two names have the same file name only if they are
    equal, also where a file system takes `A` and `a` for the same.

    Args:
        name: Any name.

    Example:
        >>> file_name("grad_cam"), file_name("../../escaped"), file_name("Cat") == file_name("cat")
        ('grad_cam', '_.._escaped-ea03bc47', False)
    """
    if _PLAIN.fullmatch(name) and len(name) <= _LONGEST:
        return name
    words = shortened(safe_words(name), _LONGEST).lstrip(".")
    return f"{words}-{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:8]}"


def safe_words(name: str) -> str:
    r"""A name in which all but letters, digits and the signs `_.,=+-` is an underscore.

    Example:
        >>> safe_words("root=/a/b c\0")
        'root=_a_b_c_'
    """
    return re.sub(r"[^\w.,=+-]+", "_", name)


def shortened(name: str, longest: int) -> str:
    """The beginning of a name, with at most this number of bytes.

    Example:
        >>> shortened("ééé", 5)
        'éé'
    """
    return name.encode(errors="replace")[:longest].decode(errors="ignore")


def is_plain_name(name: object) -> bool:
    """Whether something is the name of a file or folder, and no path that leads elsewhere.

    Example:
        >>> [is_plain_name(name) for name in ("version_0", "../version_0", "/etc", "..", "", 7)]
        [True, False, False, False, False, False]
    """
    if not isinstance(name, str) or name in ("", ".", ".."):
        return False
    if any(sign in name for sign in "/\\\0"):
        return False
    try:
        return len(name.encode()) <= _LONGEST_OF_SYSTEM
    except UnicodeEncodeError:  # half of a surrogate pair
        return False


def check_inside(path: Path, folder: Path) -> Path:
    """The path itself, if no symbolic link leads from the folder to a place outside of it.

    Args:
        path: A path below the folder; it need not exist.
        folder: The folder.

    Raises:
        ValueError: If the path leads elsewhere.
    """
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{path} is a link that leads out of {folder}; nothing is written through it")
    return path
