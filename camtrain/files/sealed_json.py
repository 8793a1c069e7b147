"""JSON files that know whether they are as they were written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from camtrain.files.damaged_file import DamagedFileError
from camtrain.files.whole_file import write_whole

SEAL = "sha256"
"""The key of the checksum of all other keys."""

_LARGEST = 64 * 2**20  # bytes of a file that is read


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Write a mapping as JSON with a checksum, in one step.

    Args:
        path: The file; its folder is made.
        content: What JSON can hold.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "row.json"
        >>> write_sealed(path, {"accuracy": 0.5})
        >>> read_sealed(path)["accuracy"]
        0.5
    """
    plain = json.loads(json.dumps(content))
    write_whole(path, json.dumps({**plain, SEAL: _checksum(plain)}, indent=2) + "\n")


def read_sealed(path: Path) -> dict[str, Any]:
    """Read a mapping, with its checksum where it has one; an earlier version wrote none.

    Raises:
        FileNotFoundError: If there is no such file.
        DamagedFileError: If it holds no mapping, or another one than was written.
    """
    if path.is_dir():
        raise DamagedFileError(path, "it is a folder")
    if path.stat().st_size > _LARGEST:
        raise DamagedFileError(path, f"expected at most {_LARGEST >> 20} MiB, got {path.stat().st_size >> 20} MiB")
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(path, _reason(path, error)) from error
    if not isinstance(found, dict):
        raise DamagedFileError(path, f"expected a JSON object, got {type(found).__name__}")
    if SEAL in found and found[SEAL] != _checksum({key: value for key, value in found.items() if key != SEAL}):
        raise DamagedFileError(path, "its content is not what was written, by its checksum")
    return found


def file_hash(path: Path) -> str:
    """The SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _reason(path: Path, error: Exception) -> str:
    if path.stat().st_size == 0:
        return "it is empty"
    what = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
    return f"it cannot be read as JSON: {what}"
