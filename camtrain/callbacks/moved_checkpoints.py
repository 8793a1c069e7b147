"""The paths of a run's checkpoints, where its folder has been moved or is called otherwise."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint


class MovedCheckpoints(Callback):
    """Lets a run that goes on in its own folder know its best checkpoint under the folder's present path.

    `ModelCheckpoint` keeps the path of its folder as text and, where it is resumed under another one, forgets which
    score was the best: the next epoch is then the best, whatever it scores. `runs/a`, its absolute path, and the folder
    once it is moved are the same folder to this callback. A checkpoint of another run's folder is none of its business.
    """

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Called by Lightning before the callbacks take back their states."""
        if trainer.ckpt_path is None:
            return
        read_from = Path(trainer.ckpt_path).absolute().parent
        states = checkpoint.get("callbacks", {})
        for callback in trainer.checkpoint_callbacks:
            if not isinstance(callback, ModelCheckpoint) or callback.dirpath is None:
                continue
            state = states.get(callback.state_key)
            folder = os.fspath(callback.dirpath)
            if state and state["dirpath"] != folder and Path(folder).resolve() == read_from.resolve():
                states[callback.state_key] = _moved(state, folder)


def _moved(state: dict[str, Any], folder: str) -> dict[str, Any]:
    def under(path: str) -> str:
        # A checkpoint in another folder, such as that of a run that was gone on from, is where it was.
        is_inside = bool(path) and Path(path).is_relative_to(state["dirpath"])
        return os.path.join(folder, Path(path).relative_to(state["dirpath"])) if is_inside else path

    paths = {key: under(state[key]) for key in ("best_model_path", "kth_best_model_path", "last_model_path")}
    best = {under(path): score for path, score in state["best_k_models"].items()}
    return {**state, **paths, "best_k_models": best, "dirpath": folder}
