"""What is below a folder, read once: a data set may have millions of files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from camtrain.data.image_file import readable_extensions

# They come with pictures, and nobody takes them for pictures.
_NO_PICTURES = {".csv", ".db", ".html", ".ini", ".json", ".md", ".pdf", ".txt", ".xml", ".yaml", ".yml"}
_NO_PICTURES_BY_NAME = {"authors", "changelog", "checksums", "copying", "license", "makefile", "notice", "readme"}


class _Entry(NamedTuple):
    parts: tuple[str, ...]  # below the folder
    extension: str  # in lower case, with the dot
    is_file: bool  # also if it is a link to one
    is_linked_folder: bool


class FolderListing:
    """All that is below a folder, but for hidden files and folders, and what is in linked folders.

    The folders are read at once, and their own entries say what is a file, so that no file is looked up.

    Args:
        folder: The folder.
        arrays: Whether arrays are images too, which they are if the format of their pixels is stated.

    Raises:
        OSError: If a folder cannot be read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("b.png", "a.heic", "labels.csv"):
        ...         Path(folder, name).touch()
        ...     listing = FolderListing(Path(folder))
        >>> [path.name for path in listing.images()], [path.name for path in listing.other_files()]
        (['b.png'], ['a.heic'])
    """

    def __init__(self, folder: Path, arrays: bool = False) -> None:
        self.folder = folder
        self.arrays = arrays
        self._entries = sorted(_entries(folder))

    def images(self) -> list[Path]:
        """All files with the extension of an image, sorted."""
        known = readable_extensions(self.arrays)
        return self._paths(entry for entry in self._entries if entry.is_file and entry.extension in known)

    def no_images(self) -> list[Path]:
        """What has the name of an image and cannot be one, sorted: empty folders and dead links."""
        known = readable_extensions(self.arrays)
        named = self._paths(entry for entry in self._entries if not entry.is_file and entry.extension in known)
        return [path for path in named if not (path.is_dir() and FolderListing(path, self.arrays).images())]

    def other_files(self) -> list[Path]:
        """The files that may be pictures, and whose type is not read here, such as `.heic`, or unknown, sorted."""
        known = readable_extensions(self.arrays) | _NO_PICTURES
        others = (entry for entry in self._entries if entry.is_file and entry.extension not in known)
        return self._paths(entry for entry in others if entry.parts[-1].lower() not in _NO_PICTURES_BY_NAME)

    def linked_folders(self) -> list[Path]:
        """The links that lead to folders, sorted; what is in these is not listed."""
        return self._paths(entry for entry in self._entries if entry.is_linked_folder)

    def _paths(self, entries: Iterator[_Entry]) -> list[Path]:
        return [self.folder.joinpath(*entry.parts) for entry in entries]


def _entries(folder: Path) -> Iterator[_Entry]:
    below: list[tuple[str, ...]] = [()]
    while below:
        parts = below.pop()
        with os.scandir(os.path.join(folder, *parts)) as found:
            for each in found:
                if each.name.startswith("."):
                    continue
                here = (*parts, each.name)
                is_folder = each.is_dir()
                if is_folder and not each.is_symlink():
                    below.append(here)
                extension = os.path.splitext(each.name)[1].lower()
                is_link = is_folder and each.is_symlink()
                yield _Entry(here, "" if extension == "." else extension, each.is_file(), is_link)
