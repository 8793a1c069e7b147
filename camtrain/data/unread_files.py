"""What is in the folders of a data set and no split reads: warnings, so that no image is left out without a word."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from pytorch_lightning.utilities import rank_zero_warn

from camtrain.data.image_file import readable_extensions
from camtrain.messages import CamtrainWarning

# They come with pictures, and nobody takes them for pictures.
_NO_PICTURES = {".csv", ".db", ".html", ".ini", ".json", ".md", ".pdf", ".txt", ".xml", ".yaml", ".yml", ""}


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


def linked_folders(folder: Path) -> list[Path]:
    """The links below a folder that lead to folders, sorted; what is in these is not among `image_paths`."""
    return sorted(
        Path(parent, name)
        for parent, names, _ in os.walk(folder)
        for name in names
        if Path(parent, name).is_symlink() and not _is_hidden(Path(parent, name), folder)
    )


def images_directly_in(folder: Path, arrays: bool = False) -> list[Path]:
    """The images in a folder itself, beside its folders; arrays are among them if they are images here."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and path.suffix.lower() in readable_extensions(arrays) and not path.name.startswith(".")
    )


def other_files(folder: Path, arrays: bool = False) -> list[Path]:
    """The files below a folder that may be pictures, and whose type is not read here, such as `.heic`.

    Args:
        folder: The folder.
        arrays: Whether arrays are read.
    """
    known = readable_extensions(arrays) | _NO_PICTURES
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() not in known and path.is_file() and not _is_hidden(path, folder)
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


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)
