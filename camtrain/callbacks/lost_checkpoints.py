"""Forgets checkpoints of a resumed run that are damaged or gone."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint

from camtrain.files import set_aside
from camtrain.messages import CamtrainWarning
from camtrain.networks.checkpoint_file import checkpoint_content


class LostCheckpoints(Callback):
    """Lets a resumed run choose its best checkpoint anew where the one that it had is damaged or gone.

    `ModelCheckpoint` takes the paths and scores of the best epochs from the checkpoint that a run is resumed from. If
    a file is lost, no later epoch that scores less would be saved, and the final test would have nothing to load. A
    damaged file is kept as `*.damaged`.

    It has to come after `MovedCheckpoints`, which corrects the paths.
    """

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Correct the states; Lightning calls this before it restores the states of the callbacks."""
        states = checkpoint.get("callbacks", {})
        for callback in trainer.checkpoint_callbacks:
            state = states.get(callback.state_key) if isinstance(callback, ModelCheckpoint) else None
            if state and callback.monitor and state["dirpath"] == os.fspath(callback.dirpath or ""):  # type: ignore[attr-defined]
                # All processes need the same answer.
                lost = trainer.strategy.broadcast(_lost(state) if trainer.is_global_zero else [])
                if lost:
                    states[callback.state_key] = _without(state, lost, callback.mode)  # type: ignore[attr-defined]


def _lost(state: dict[str, Any]) -> list[str]:
    """The paths of the checkpoints that cannot be loaded; each is said, and set aside if it is there."""
    lost = []
    for text in dict.fromkeys([*state["best_k_models"], state["best_model_path"]]):
        path = Path(text)
        what = _fault(path) if text and path.is_relative_to(state["dirpath"]) else None
        if what is None:
            continue
        lost.append(text)
        if what != "gone" or not _has_successor(path, state):
            name = set_aside(path).name if path.exists() else ""
            warnings.warn(
                f"{path}, the best checkpoint of {state['monitor']}, is {what}{name and f' and kept as {name}'}; the "
                "best of the other epochs takes its place, or the last one",
                CamtrainWarning,
                stacklevel=2,
            )
    return lost


def _fault(path: Path) -> str | None:
    """What is wrong with a checkpoint; `None` if nothing is."""
    if not path.is_file():
        return "gone"
    try:
        content = checkpoint_content(path)
    except ValueError as error:
        return f"damaged ({str(error).removeprefix('`checkpoint`: ').partition(';')[0]})"
    return None if content else "damaged (it holds nothing)"


def _has_successor(path: Path, state: dict[str, Any]) -> bool:
    """Whether the run had replaced a checkpoint by a better one before it was stopped; it will do so again."""
    others = {each.name for each in path.parent.glob("[!.]*.ckpt")} - {"last.ckpt", "previous.ckpt"}
    return bool(others - {Path(each).name for each in state["best_k_models"]})


def _without(state: dict[str, Any], lost: list[str], mode: str) -> dict[str, Any]:
    """The state of a `ModelCheckpoint` that has never had some of its checkpoints."""
    best = {path: score for path, score in state["best_k_models"].items() if path not in lost}
    better, worse = (min, max) if mode == "min" else (max, min)
    first = better(best, key=lambda path: best[path], default="")
    last = worse(best, key=lambda path: best[path], default="")
    none_yet = torch.tensor(torch.inf if mode == "min" else -torch.inf)
    return {
        **state,
        "best_k_models": best,
        "best_model_path": first,
        "best_model_score": best.get(first),
        "kth_best_model_path": last,
        "kth_value": best.get(last, none_yet),
    }
