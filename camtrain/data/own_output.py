"""Folders that camtrain has written, which may lie beside images."""

from __future__ import annotations

from pathlib import Path

_FILES = ("study.json", "scores.json", "contact_sheet.png")
_RUNS = ("version_*/config.yaml", "*/version_*/config.yaml")


def is_written_by_camtrain(folder: Path) -> bool:
    """Whether a folder is a study, an evaluation, explained photographs, a run, or a folder of runs.

    Args:
        folder: The folder.
    """
    return any((folder / name).is_file() for name in _FILES) or any(True for each in _RUNS for _ in folder.glob(each))
