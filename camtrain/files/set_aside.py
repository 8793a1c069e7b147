"""A damaged file is kept under another name, so that a new one can take its place."""

from __future__ import annotations

import os
from pathlib import Path


def set_aside(path: Path) -> Path:
    """Rename a file to `<name>.damaged`, or `<name>.2.damaged` where that exists, and so on; nothing is overwritten.

    Args:
        path: The file.

    Returns:
        Its new path, in the same folder.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "row.json")
        >>> for content in ("cut", "cut again"):
        ...     _ = path.write_text(content)
        ...     print(set_aside(path).name)
        row.json.damaged
        row.json.2.damaged
    """
    number, aside = 1, path.with_name(f"{path.name}.damaged")
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.{number}.damaged")
    os.replace(path, aside)
    return aside
