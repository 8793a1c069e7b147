"""Paths as people type them."""

from __future__ import annotations

from pathlib import Path


def path_from_here(path: Path) -> Path:
    """The path as one would type it in the working folder.

    Example:
        >>> path_from_here(Path.cwd() / "runs" / "quickstart").as_posix()
        'runs/quickstart'
    """
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
