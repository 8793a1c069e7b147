"""What is in the folders of a data set and no split reads: warnings, so that no image is left out without a word."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from pytorch_lightning.utilities import rank_zero_warn

from camtrain.data.image_file import readable_extensions
from camtrain.messages import CamtrainWarning


def warn_of_unread(argument: str, what: str, paths: Sequence[Path], remedy: str) -> None:
    """Warn that files or folders are not read, with their number and the first of them.

    Args:
        argument: The setting that names the folder they are in.
        what: What they are, in the plural.
        paths: The files or folders; if there are none, there is no warning.
        remedy: What to do if they are meant.
    """
    if paths:
        more = f", and {len(paths) - 1} more" if len(paths) > 1 else ""
        rank_zero_warn(f"`{argument}`: {what} are not read: {paths[0]}{more}; {remedy}", category=CamtrainWarning)


def images_directly_in(folder: Path, arrays: bool = False) -> list[Path]:
    """The images in a folder itself, beside its folders; arrays are among them if they are images here."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and path.suffix.lower() in readable_extensions(arrays) and not path.name.startswith(".")
    )


def folders_beside(folder: Path, read: Iterable[Path]) -> list[Path]:
    """The folders in a folder that are none of those that are read, and do not hold one of them."""
    wanted = list(read)
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_dir()
        and not path.name.startswith(".")
        and not any(path == each or path in each.parents or each in path.parents for each in wanted)
    )
