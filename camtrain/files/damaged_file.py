"""Files that cannot be used, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

from camtrain.files.set_aside import set_aside


class DamagedFileError(ValueError):
    """A file does not hold what it should: it is empty, cut off, changed, or something else.

    Attributes:
        path: The file.
        reason: What is wrong with it.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} is damaged: {reason}")
        self.path = path
        self.reason = reason


def said_aside(error: DamagedFileError) -> str:
    """Set a damaged file aside, and say so.

    Args:
        error: What is wrong with which file.

    Returns:
        A clause: which file is damaged, why, and where it is now.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "row.json"
        >>> _ = path.write_text("{")
        >>> said_aside(DamagedFileError(path, "it is cut off")).rpartition("/")[2]
        'row.json is damaged: it is cut off; it is set aside as row.json.damaged'
    """
    try:
        return f"{error}; it is set aside as {set_aside(error.path).name}"
    except OSError as why:  # it stays, and is said again
        return f"{error}; it cannot be set aside ({why.strerror})"
