"""Folders that camtrain has written, which may lie beside images."""

from __future__ import annotations

from pathlib import Path

_FILES = ("study.json", "scores.json", "contact_sheet.png")
_RUNS = ("version_*/config.yaml", "*/version_*/config.yaml")


def is_written_by_camtrain(folder: Path, *, maybe_runs: bool = True) -> bool:
    """Whether a folder is a study, an evaluation, explained photographs, a run, or a folder of runs.

    Args:
        folder: The folder.
        maybe_runs: Whether it may be that of runs; to know is to list all its files.
    """
    patterns = _RUNS if maybe_runs else ()
    return any((folder / name).is_file() for name in _FILES) or any(
        True for each in patterns for _ in folder.glob(each)
    )
