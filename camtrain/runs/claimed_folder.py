"""The folder of a new run, which no other process takes at the same time."""

from __future__ import annotations

from pathlib import Path


def claimed_version(runs: Path, number: int) -> tuple[int, list[Path]]:
    """Make the folder `version_<k>` of a new run.

    Args:
        runs: The folder of all versions of the run; it is made if it is missing.
        number: The first number to try; if another process was faster, the next one is tried.

    Returns:
        The number, and the folders that this call made: that of the run, and then those above it.

    Raises:
        OSError: If a folder cannot be made.

    Example:
        >>> import tempfile
        >>> runs = Path(tempfile.mkdtemp()) / "plain"
        >>> claimed_version(runs, 0)[0], claimed_version(runs, 0)[0]
        (0, 1)
    """
    above: list[Path] = []
    while True:
        above = [*_made(runs), *above]
        folder = runs / f"version_{number}"
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        except FileNotFoundError:  # a run that failed has just removed the empty folder above
            above = [each for each in above if each.is_dir()]
        else:
            return number, [folder, *above]


def _made(folder: Path) -> list[Path]:
    """Make a folder and those above it that are missing; those that this call made, the lowest one first."""
    made: list[Path] = []
    for each in reversed([folder, *folder.parents]):
        if not each.is_dir():
            try:
                each.mkdir()
            except FileExistsError:  # another process was faster
                if not each.is_dir():
                    raise
            else:
                made.insert(0, each)
    return made
