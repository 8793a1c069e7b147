"""How a run's checkpoints are written and read: whole, with a checksum, and the last one before it kept."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from shutil import disk_usage
from typing import Any

import torch
from lightning_fabric.plugins import TorchCheckpointIO
from lightning_fabric.utilities.cloud_io import _is_local_file_protocol
from pytorch_lightning import Trainer

from camtrain.files import whole_file
from camtrain.networks.checkpoint_file import CHECKSUM, checkpoint_content, checksum_of

LAST = "last.ckpt"
PREVIOUS = "previous.ckpt"
"""The last checkpoint before `last.ckpt`, which a resumed run falls back to."""


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes each checkpoint beside its target, then puts it in its place in one step, with a checksum.

    Lightning's own writes to the folder of temporary files and moves the file. Between two file systems that is a copy
    over the target, which a kill or a full disk leaves half done. Whenever this process or the machine stops, the
    target is the old file or the new one. When `last.ckpt` is replaced, the old one stays as `previous.ckpt`.

    Remote checkpoints (`s3://…`) are written as Lightning does, with the checksum.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write a checkpoint.

        Args:
            checkpoint: Its content; the checksum is added.
            path: Its file.
            storage_options: Not supported.

        Raises:
            OSError: If it cannot be written; the file is as it was.
        """
        content = {**checkpoint, CHECKSUM: checksum_of(checkpoint)}
        if storage_options is not None or not _is_local_file_protocol(path):
            super().save_checkpoint(content, path, storage_options)
            return
        try:
            _save_whole(content, Path(path))
        except (OSError, RuntimeError) as error:  # torch's writer raises the latter where the disk is full
            raise _not_written(Path(path), error) from error

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Callable[..., Any] | None = None,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Read a checkpoint to the processor; no code in it is run, whatever `weights_only` says.

        Args:
            path: Its file.
            map_location: Not used; Lightning copies the tensors to where they belong.
            weights_only: Not used; always true.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is no checkpoint, or not as it was written.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"`ckpt_path`: no such file: {path}")
        return checkpoint_content(Path(path))


def keep_checkpoints_whole(trainer: Trainer) -> None:
    """Let a trainer read and write its checkpoints so, unless its configuration names a plugin or strategy for them.

    Args:
        trainer: A trainer that does not run yet.
    """
    if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
        trainer.strategy.checkpoint_io = WholeCheckpointIO()


def _save_whole(content: dict[str, Any], path: Path) -> None:
    with whole_file(path) as unfinished:
        torch.save(content, unfinished)
        if path.name == LAST:
            _keep(path, path.with_name(PREVIOUS))
    # The new names last, too, should the machine stop.
    with suppress(OSError):  # a folder cannot be opened everywhere
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _keep(path: Path, previous: Path) -> None:
    """Give a file a second name, in one step, before another file takes the first one."""
    if not path.is_file():
        return
    link = path.with_name(f".{os.getpid()}.{previous.name}")
    try:
        os.link(path, link)
    except OSError:  # some file systems have no links; whoever resumes the run finds the file under either name
        os.replace(path, previous)
        return
    os.replace(link, previous)
    link.unlink(missing_ok=True)  # where both were one file already, nothing was renamed


def _not_written(path: Path, error: Exception) -> OSError:
    folder = path.parent
    free = f" ({disk_usage(folder).free / 2**20:.0f} MiB free in {folder})" if folder.is_dir() else ""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).partition("\n")[0]
    return OSError(
        f"cannot write the checkpoint {path}: {reason}{free}; the checkpoints before it are unharmed, and "
        "`--run.resume true` goes on from the last one"
    )
