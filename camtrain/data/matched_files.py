"""Files that belong to images by their names: masks, and text files of boxes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from pytorch_lightning.utilities import rank_zero_warn

from camtrain.data.image_boxes import same_name
from camtrain.messages import CamtrainWarning, DataError


def matched_files(
    argument: str, what: str, folder: Path, files: Sequence[Path], images: Iterable[str]
) -> dict[str, Path]:
    """The file of each image: the one with the same path in another folder, whatever the extensions.

    Names that differ only in their Unicode normalization are the same.

    Args:
        argument: The setting that names the folder, for messages.
        what: What a file is, for messages, such as `mask`.
        folder: The folder that the files are in.
        files: The files.
        images: All images, as paths relative to theirs with forward slashes.

    Returns:
        The file by the path of the image; images without a file are left out. A warning says how many files belong to
        no image.

    Raises:
        DataError: If an image has two files, a file belongs to two images, or no file belongs to any image; it is a
            `ValueError`.
    """
    of_stem: dict[str, list[str]] = {}
    for image in sorted(images):
        of_stem.setdefault(_stem(image), []).append(image)
    matched: dict[str, Path] = {}
    astray: list[Path] = []
    for path in files:
        owners = of_stem.get(_stem(path.relative_to(folder).as_posix()), [])
        if len(owners) > 1:
            raise DataError(
                f"`{argument}`: one {what} for {len(owners)} images: {path} could belong to {owners[0]} and to "
                f"{owners[1]}; rename an image, and give it a {what} of its own"
            )
        if not owners:
            astray.append(path)
            continue
        other = matched.setdefault(owners[0], path)
        if other != path:
            raise DataError(f"`{argument}`: two {what}s for one image: {other} and {path}")
    if not matched:
        example = f", such as {PurePosixPath(min(of_stem, default='')).with_suffix(files[0].suffix)}" if files else ""
        raise DataError(
            f"`{argument}`: no {what} in {folder} belongs to an image; expected the same relative paths{example}"
            f"{_hint(astray, folder, of_stem)}"
        )
    if astray:
        rank_zero_warn(
            f"`{argument}`: {len(astray)} of {len(files)} {what}s in {folder} belong to no image and are left out, "
            f"such as {astray[0].relative_to(folder).as_posix()}{_hint(astray, folder, of_stem)}",
            category=CamtrainWarning,
        )
    return matched


def _stem(path: str) -> str:
    return same_name(str(PurePosixPath(path).with_suffix("")))


def _hint(astray: Sequence[Path], folder: Path, of_stem: dict[str, list[str]]) -> str:
    """What the name of the first file that belongs to no image may have too much, or in other letters."""
    if not astray:
        return ""
    stem = _stem(astray[0].relative_to(folder).as_posix())
    alike = [known for known in of_stem if known.casefold() == stem.casefold()]
    if alike:
        return f"; {of_stem[alike[0]][0]} has the same name in other capitals"
    begun = max((known for known in of_stem if stem.startswith(known)), key=len, default="")
    if not begun:
        return ""
    return f"; without {stem.removeprefix(begun)!r} at the end of its name it would be that of {of_stem[begun][0]}"
