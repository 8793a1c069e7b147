"""Lightning's callbacks that average weights, beside those of a run."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from pytorch_lightning import Callback, Trainer
from pytorch_lightning.callbacks import Checkpoint, WeightAveraging


def averaging_last(trainer: Trainer) -> None:
    """Move callbacks that average weights behind all others, except those that write checkpoints.

    At the end of a validation they put the weights of the training back. Those that look at the network then, such as
    panels and scores of maps, must come before, to see the averaged weights that were validated and are saved.
    """
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    callbacks.sort(key=lambda each: 2 if isinstance(each, Checkpoint) else int(isinstance(each, WeightAveraging)))


@contextmanager
def without_averaging(trainer: Trainer) -> Iterator[None]:
    """Take callbacks that average weights out of a trainer, for a test of a checkpoint.

    After a training they would load the weights of the training, which a checkpoint holds beside the averaged ones.
    """
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    trainer.callbacks = [each for each in callbacks if not isinstance(each, WeightAveraging)]  # type: ignore[attr-defined]
    try:
        with warnings.catch_warnings():
            if len(trainer.callbacks) < len(callbacks):  # type: ignore[attr-defined]
                warnings.filterwarnings(
                    "ignore", message=".*callbacks used to create the checkpoint need to be provided"
                )
            yield
    finally:
        trainer.callbacks = callbacks  # type: ignore[attr-defined]
