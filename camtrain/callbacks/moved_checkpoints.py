"""Corrects the paths of a run's checkpoints after its folder has been moved or renamed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint


class MovedCheckpoints(Callback):
    """Keeps a run's best checkpoint known when the run is resumed after its folder was moved or renamed.

    `ModelCheckpoint` stores the path of its folder as text. If a run is resumed under another path, it forgets the best
    score, and the next epoch becomes the best one whatever its score. This callback replaces the stored path by the
    present one: `runs/a`, its absolute path and the moved folder are the same folder. Checkpoints in the folder of
    another run are left alone.
    """

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Correct the paths; Lightning calls this before it restores the states of the callbacks."""
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
        # A checkpoint outside the folder, such as that of the run from which this one started, has not moved.
        is_inside = bool(path) and Path(path).is_relative_to(state["dirpath"])
        return os.path.join(folder, Path(path).relative_to(state["dirpath"])) if is_inside else path

    paths = {key: under(state[key]) for key in ("best_model_path", "kth_best_model_path", "last_model_path")}
    best = {under(path): score for path, score in state["best_k_models"].items()}
    return {**state, **paths, "best_k_models": best, "dirpath": folder}
