"""In which epochs of a training something is made that takes time."""

from __future__ import annotations

import math

from pytorch_lightning import Trainer
from pytorch_lightning.trainer.states import TrainerFn


class EveryNEpochs:
    """The first validation of fit, then whenever so many epochs have passed since the last time, and the last one.

    Epochs are what counts: of several validations in an epoch (`val_check_interval`) the first one is due. In the last
    epoch it is the last one, whose network is the one that remains, unless nothing says how many there are. Outside of
    fit it is always due.

    Args:
        every_n_epochs: how many.

    Raises:
        ValueError: if it is below 1.
    """

    def __init__(self, every_n_epochs: int) -> None:
        if every_n_epochs < 1:
            raise ValueError(f"`every_n_epochs`: expected at least 1, got {every_n_epochs}")
        self.every_n_epochs = every_n_epochs
        self._last: int | None = None

    def is_due(self, trainer: Trainer) -> bool:
        """Whether it is time."""
        last, epoch = self._last, trainer.current_epoch
        if trainer.state.fn != TrainerFn.FITTING or last is None:
            return True
        if epoch + 1 == trainer.max_epochs:
            return _is_last_of_epoch(trainer, otherwise=epoch > last)
        return epoch - last >= self.every_n_epochs

    def done(self, trainer: Trainer) -> None:
        """It was made in this epoch."""
        self._last = trainer.current_epoch

    def reset(self) -> None:
        """Begin anew."""
        self._last = None


def _is_last_of_epoch(trainer: Trainer, *, otherwise: bool) -> bool:
    """Whether no validation follows in this epoch; `otherwise` where that is not known."""
    between, batches = trainer.val_check_batch, trainer.num_training_batches
    if between is None or math.isinf(between) or math.isinf(batches):
        return otherwise
    return batches - (trainer.fit_loop.batch_idx + 1) < between
