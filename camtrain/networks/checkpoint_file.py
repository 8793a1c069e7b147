"""Where the checkpoints of `camtrain fit` are, and what is in one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch


def checkpoint_in(path: Path) -> Path:
    """The checkpoint that a path names: a file, or the scored checkpoint of a run's folder.

    Args:
        path: A checkpoint, the folder of a run (`runs/quickstart/version_0`), or the folder of all its versions
            (`runs/quickstart`), of which the newest with a checkpoint is taken. For a run, it is the checkpoint that
            its test scored: the best one, or `last.ckpt` where none was chosen.

    Raises:
        FileNotFoundError: If there is no such file, or no checkpoint in the folder.
        ValueError: If the last checkpoint in the folder cannot be read.
    """
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
    saved = checkpoint_content(last)
    for state in saved.get("callbacks", {}).values():
        if isinstance(state, dict) and state.get("monitor") and state.get("best_model_path"):
            return Path(state["best_model_path"]).name
    return last.name


def checkpoint_content(path: Path) -> dict[str, Any]:
    """The content of a checkpoint; empty where it is something else.

    Raises:
        ValueError: If torch cannot read the file.
    """
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises almost anything for a file that is no checkpoint
        reason = str(error).partition("\n")[0]
        raise ValueError(f"`checkpoint`: cannot read {path} as a checkpoint: {reason}") from error
    return saved if isinstance(saved, dict) else {}
