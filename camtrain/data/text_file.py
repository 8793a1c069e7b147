"""Text files of annotation, read with errors that name the line."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from camtrain.messages import DataError


def text_in(path: Path, kind: str = "text") -> str:
    """The text of a file in UTF-8.

    Args:
        path: The file.
        kind: What sort of file is expected, for messages.

    Raises:
        DataError: If the file cannot be read, or is no text in UTF-8; it is a `ValueError`.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        text = content.decode("utf-8-sig")  # spreadsheets may write a byte order mark
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, line {line}: expected a {kind} file in UTF-8, got the byte {content[error.start]:#04x}; save it "
            f"as {kind} in UTF-8"
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(f"{path}, line {line}: expected a {kind} file in UTF-8, got a null character")
    return text


def fields_of_lines(path: Path, *names: str) -> Iterator[tuple[int, list[str]]]:
    """The number of each line and its fields, which white space separates; empty lines are skipped.

    Args:
        path: The file.
        *names: The name of each field. The last one takes the rest of the line.

    Raises:
        DataError: If the file cannot be read, or a line has fewer fields.
    """
    for number, line in enumerate(text_in(path).splitlines(), start=1):
        fields = line.split(maxsplit=len(names) - 1)
        if not fields:
            continue
        if len(fields) != len(names):
            raise DataError(f"{path}, line {number}: expected `{' '.join(names)}`, got {line!r}")
        yield number, [field.strip() for field in fields]


def number_in(text: str, name: str) -> float:
    """The finite number that a text is.

    Raises:
        ValueError: If it is none.

    Example:
        >>> number_in("1e1", "x0")
        10.0
    """
    try:
        number = math.nan if "_" in text else float(text)  # Python takes 1_0 for 10
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        shown = text if len(text) <= 80 else f"{text[:80]}…"
        raise ValueError(f"expected a number for {name}, got {shown!r}")
    return number
