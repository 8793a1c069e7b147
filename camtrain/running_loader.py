"""The loader whose images a trainer evaluates at the moment."""

from __future__ import annotations

from typing import Any

from pytorch_lightning import Trainer
from pytorch_lightning.trainer.states import TrainerFn
from torch.utils._pytree import tree_leaves


def running_loader(trainer: Trainer, stage: str) -> Any:
    """The loader of a stage; the first one of several, and `None` if there is none.

    Args:
        trainer: The trainer that runs the stage.
        stage: `val`, `test` or `predict`.
    """
    if stage == "val" and trainer.state.fn == TrainerFn.VALIDATING:
        # `trainer.val_dataloaders` holds the loaders of an earlier `fit`, which may differ.
        combined = trainer.validate_loop._combined_loader
        loaders = None if combined is None else combined.iterables
    else:
        by_stage = {"val": "val_dataloaders", "test": "test_dataloaders", "predict": "predict_dataloaders"}
        loaders = getattr(trainer, by_stage[stage])
    return next(iter(tree_leaves(loaders)), None)
