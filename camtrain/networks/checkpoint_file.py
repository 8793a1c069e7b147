"""Where the checkpoints of `camtrain fit` are, and what is in one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from camtrain.files import local_path
from camtrain.networks.readable_checkpoint import UnreadableError, torch_content

CHECKSUM = "camtrain_checksum"
"""The key of a checkpoint under which `camtrain fit` writes the checksum of everything else in it."""


def checkpoint_in(path: Path) -> Path:
    """The checkpoint that a path names: a file, or the scored checkpoint of a run's folder.

    Args:
        path: A checkpoint, the folder of a run (`runs/quickstart/version_0`), or the folder of all its versions
            (`runs/quickstart`), of which the newest with a checkpoint is taken. For a run, it is the checkpoint that
            its test scored: the best one, or `last.ckpt` where none was chosen.

    Raises:
        FileNotFoundError: If there is no such file, or no checkpoint in the folder.
        ValueError: If the last checkpoint in the folder cannot be read, or the path is an address or a configuration.
    """
    path = local_path(path, "checkpoint")
    if path.suffix in (".yaml", ".yml"):
        raise ValueError(f"`checkpoint`: expected a checkpoint, got the configuration {path}; pass it as `config`")
    if path.is_file():
        return path
    if not path.is_dir():
        raise FileNotFoundError(f"`checkpoint`: no such file: {path}")
    versions = sorted(path.glob("version_*/checkpoints/last.ckpt"), key=lambda last: _version(last.parents[1]))
    lasts = [path / "checkpoints" / "last.ckpt", path / "last.ckpt", *reversed(versions)]
    last = next((each for each in lasts if each.is_file()), None)
    if last is None:
        raise FileNotFoundError(f"`checkpoint`: expected a checkpoint or the folder of a run, got {path}, without any")
    return last.parent / scored_checkpoint(last)


def _version(folder: Path) -> int:
    number = folder.name.removeprefix("version_")
    return int(number) if number.isdecimal() else -1


def scored_checkpoint(last: Path) -> str:
    """The name of the checkpoint that `camtrain fit` tested: the best one, or the last where none was chosen.

    Args:
        last: `last.ckpt`, in the same folder.
    """
    found = checkpoint_content(last).get("callbacks")
    states = [each for each in found.values() if isinstance(each, dict)] if isinstance(found, dict) else []
    # That of `BestCheckpoint` comes before those of further `ModelCheckpoint`s, which a configuration may add.
    for state in sorted(states, key=lambda state: "accuracies" not in state):
        best = state.get("best_model_path") if state.get("monitor") else None
        if best and isinstance(best, str):
            return Path(best).name
    return last.name


def checkpoint_content(path: Path) -> dict[str, Any]:
    """The content of a checkpoint of any kind. No code in the file is run.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file cannot be read, is not as it was written, or is not a dictionary.
    """
    if path.is_dir():
        raise ValueError(f"`checkpoint`: expected a file, got the folder {path}; pass a checkpoint in it")
    if not path.is_file():
        raise FileNotFoundError(f"`checkpoint`: no such file: {path}")
    try:
        saved = torch_content(path)
    except UnreadableError as error:
        raise ValueError(f"`checkpoint`: cannot read {path} as a checkpoint: {error}; {_others(path)}") from error
    if not isinstance(saved, dict):
        raise ValueError(
            f"`checkpoint`: {path} is not a checkpoint of camtrain's Classifier: it holds a {type(saved).__name__}; "
            f"{_others(path)}"
        )
    if not is_intact(saved):
        raise ValueError(f"`checkpoint`: {path} is damaged: its checksum is not that of its content; {_others(path)}")
    return saved


def _others(path: Path) -> str:
    """What to do about a file that is of no use."""
    others = sorted(each.name for each in path.parent.glob("*.ckpt") if each.name != path.name)
    return f"beside it: {', '.join(others[:5])}" if others else "pass another checkpoint or a copy"


def checksum_of(content: Mapping[str, Any]) -> str:
    """A checksum of everything in a checkpoint: weights, states of optimizers and callbacks, progress and settings.

    Torch does not verify the checksums of its own files: a tensor with a flipped bit is loaded as if nothing were
    wrong. Dtypes and shapes count, devices do not, so that a checkpoint can be checked on another machine.

    Args:
        content: The content of a checkpoint; what it has under `camtrain_checksum` is left out.

    Returns:
        64 hexadecimal digits.

    Cost: reads every tensor once, and copies those of a GPU to the processor, one at a time.

    Example:
        >>> checksum_of({"weight": torch.ones(3)}) == checksum_of({"weight": torch.ones(3)})
        True
        >>> checksum_of({"weight": torch.ones(3)}) == checksum_of({"weight": torch.tensor([1, 1, 1.001])})
        False
    """
    checksum = hashlib.sha256()
    for piece in _pieces({key: value for key, value in content.items() if key != CHECKSUM}):
        checksum.update(piece)
    return checksum.hexdigest()


def is_intact(content: Mapping[str, Any]) -> bool:
    """Whether a checkpoint is as it was written: true if its checksum is right, or if it has none.

    Args:
        content: The content of a checkpoint as it was read, before anything in it is changed.

    Example:
        >>> weights = {"weight": torch.ones(3)}
        >>> is_intact({**weights, "camtrain_checksum": checksum_of(weights)}), is_intact(weights)
        (True, True)
        >>> is_intact({"weight": torch.zeros(3), "camtrain_checksum": checksum_of(weights)})
        False
    """
    return CHECKSUM not in content or content[CHECKSUM] == checksum_of(content)


def _pieces(value: Any) -> Iterator[bytes | memoryview]:
    """The value as bytes, piece by piece; different values give different bytes."""
    if isinstance(value, Tensor):
        dense = value.detach().dequantize() if value.is_quantized else value.detach().to_dense()
        yield f"tensor {value.dtype} {tuple(value.shape)}\n".encode()
        flat = dense.cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
        yield flat.view(torch.uint8).numpy().data
    elif isinstance(value, Mapping):
        yield f"mapping {len(value)}\n".encode()
        for key, member in value.items():
            yield from _pieces(key)
            yield from _pieces(member)
    elif isinstance(value, (list, tuple)):
        yield f"{'list' if isinstance(value, list) else 'tuple'} {len(value)}\n".encode()
        for member in value:
            yield from _pieces(member)
    elif isinstance(value, (str, bytes)):
        encoded = value.encode(errors="surrogatepass") if isinstance(value, str) else value
        yield f"{type(value).__name__} {len(encoded)}\n".encode()
        yield encoded
    elif value is None or isinstance(value, (bool, int, float, complex)):
        yield f"{value!r}\n".encode()
    else:  # what else torch loads, such as a dtype, has no state that all of them show
        yield f"{type(value).__module__}.{type(value).__qualname__}\n".encode()
