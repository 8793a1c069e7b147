"""Photographs: which files, and what they are called in the output."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from camtrain.data.folder_listing import FolderListing


def photograph_paths(
    given: Iterable[Path], left_out: Path | None = None, *, arrays: bool = False
) -> tuple[list[Path], list[ValueError | FileNotFoundError]]:
    """The image files that are meant, each once and in the given order, and what is wrong with the rest.

    Args:
        given: Files, which are taken as they are, and folders, of which all image files are taken, also in folders
            below.
        left_out: A folder that is left out where it is below one of these, so that what was written earlier is not
            explained again.
        arrays: Whether arrays in a folder are images too.

    Returns:
        Paths, and an error for each file that is not there and each folder without an image.

    Raises:
        ValueError: If `left_out` is one of the folders.
    """
    found: dict[Path, Path] = {}
    problems: list[ValueError | FileNotFoundError] = []
    for path in given:
        if path.is_dir() and left_out is not None and path.resolve() == left_out.resolve():
            raise ValueError(f"`left_out`: expected another folder than one of images, got {left_out}")
        files = _in_folder(path, left_out, arrays) if path.is_dir() else [path]
        if not files:
            problems.append(ValueError(f"no image in the folder {path}"))
        elif not path.exists():
            problems.append(FileNotFoundError(f"no such image: {path}"))
        else:
            for file in files:
                found.setdefault(file.resolve(), file)
    return list(found.values()), problems


def _in_folder(folder: Path, left_out: Path | None, arrays: bool) -> list[Path]:
    paths = FolderListing(folder, arrays).images()
    return paths if left_out is None else [path for path in paths if left_out.resolve() not in path.resolve().parents]


def unique_names(paths: Sequence[Path], taken: Iterable[str] = ()) -> list[str]:
    """A short name for each file that no other file has, also on a file system that ignores case.

    It is the file's name without its extension; if that is taken, with it; if that is taken too, with as many of its
    folders as it takes.

    Args:
        paths: The files, each once.
        taken: Names that none of them gets.

    Example:
        >>> unique_names([Path("a/cat.png"), Path("b/dog.png"), Path("b/dog.jpg")])
        ['cat', 'dog.png', 'dog.jpg']
        >>> unique_names([Path("a/cat.png"), Path("b/cat.png"), Path("b/Dog.png")])
        ['a-cat', 'b-cat', 'Dog']
    """
    names: dict[Path, str] = {}
    reserved = {name.casefold() for name in taken}
    candidates = {path: _candidates(path, number, len(paths)) for number, path in enumerate(paths, start=1)}
    while len(names) < len(candidates):
        now = {path: next(candidates[path]) for path in candidates if path not in names}
        often = Counter(name.casefold() for name in (*names.values(), *now.values()))
        free = {path: name for path, name in now.items() if name.casefold() not in reserved}
        names |= {path: name for path, name in free.items() if often[name.casefold()] == 1}
    return [names[path] for path in paths]


def _candidates(path: Path, number: int, count: int) -> Iterator[str]:
    """Ever longer names, without an end."""
    parts = path.resolve().parts
    for depth in range(1, len(parts)):
        folders = parts[-depth:-1]
        yield "-".join([*folders, path.stem])
        yield "-".join([*folders, path.name])
    # Even whole paths can be alike once their folders are put together: a-b/c and a/b-c.
    while True:
        yield f"{path.stem}-{number}"
        number += count
