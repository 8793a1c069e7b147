"""A checkpoint as torch reads it, without running code and without taking more memory than its file has bytes."""

from __future__ import annotations

import errno
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_OBJECT = re.compile(r"(?:unsupported (?:global: )?GLOBAL|reduce for unrecognized function) ([^\s,]+)", re.IGNORECASE)
_SPARE_BYTES = 2**27  # a few tensors may be expanded or sparse
_MOST_VALUES = 5_000_000  # a checkpoint has thousands
_REASON = 200  # characters of torch's message


class UnreadableError(Exception):
    """What is wrong with a file, as the end of a sentence that begins with its name."""


def torch_content(path: Path) -> Any:
    """What a file of `torch.save` holds. Nothing in it is called or imported.

    Args:
        path: A file on this machine.

    Raises:
        UnreadableError: If it is no such file, is cut or damaged, holds objects of Python, or would take much more
            memory than its size.
        OSError: If the file is there and cannot be read now, which does not say that it is damaged.
        MemoryError: If the memory does not suffice.
    """
    try:
        size = path.stat().st_size
        if size == 0:
            raise UnreadableError("the file is empty")
        _check_archive(path, size)
        content = torch.load(path, map_location="cpu", weights_only=True)
        _check_memory(content, size)
    except (UnreadableError, MemoryError):
        raise
    except OSError as error:
        if error.errno in (None, errno.EINVAL, errno.ENOENT, errno.EISDIR):  # torch seeks where a cut file has no byte
            raise UnreadableError(_reason(path, error)) from error
        raise
    except Exception as error:  # torch raises almost anything for a file that is no checkpoint
        raise UnreadableError(_reason(path, error)) from error
    return content


def _check_archive(path: Path, size: int) -> None:
    """Refuse an archive whose members are larger than itself; torch writes its own uncompressed."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    if any(each.compress_type != zipfile.ZIP_STORED for each in members) or sum(m.file_size for m in members) > size:
        raise UnreadableError("it holds compressed data, which torch.save does not write")


def _check_memory(content: Any, size: int) -> None:
    """Refuse tensors that take much more memory than the file once they are copied, and endless containers."""
    dense, seen, rest = 0, 0, [content]
    while rest:
        value = rest.pop()
        seen += 1
        if isinstance(value, Tensor):
            dense += value.numel() * value.element_size()
        elif isinstance(value, Mapping):
            rest += value.values()
        elif isinstance(value, (list, tuple)):
            rest += value
        if dense > 2 * size + _SPARE_BYTES or seen > _MOST_VALUES:
            raise UnreadableError("its content would take much more memory than the file has bytes")


def _reason(path: Path, error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return error.strerror
    if found := _OBJECT.search(str(error)):
        return f"it holds objects of Python ({found[1]}), which are never loaded, since that can run any code"
    with path.open("rb") as file:
        is_archive = file.read(2) == b"PK"
    if is_archive:
        return f"it is cut or damaged ({' '.join(str(error).split())[:_REASON]})"
    return "it is not a file that torch.save has written"
