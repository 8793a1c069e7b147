"""When a callback does work that takes too long to be done in every epoch."""

from __future__ import annotations

import math

from pytorch_lightning import Trainer
from pytorch_lightning.trainer.states import TrainerFn

from camtrain.messages import positive_integer


class EveryNEpochs:
    """A schedule in fit: the first validation, then every n epochs, and the last validation.

    If an epoch has several validations (`val_check_interval`), the work is due in the first of them. In the last epoch
    it is due in the last one, which sees the final network, or in the first one if their number is unknown. Outside of
    fit the work is always due.

    Args:
        every_n_epochs: The number of epochs from one time to the next.

    Raises:
        ValueError: If `every_n_epochs` is below 1.
    """

    def __init__(self, every_n_epochs: int) -> None:
        self.every_n_epochs = positive_integer("every_n_epochs", every_n_epochs)
        self._last: int | None = None

    def is_due(self, trainer: Trainer) -> bool:
        """Whether the work is due in the present validation."""
        last, epoch = self._last, trainer.current_epoch
        if trainer.state.fn != TrainerFn.FITTING or last is None:
            return True
        if epoch + 1 == trainer.max_epochs:
            return _is_last_of_epoch(trainer, otherwise=epoch > last)
        return epoch - last >= self.every_n_epochs

    def done(self, trainer: Trainer) -> None:
        """Note that the work was done in this epoch."""
        self._last = trainer.current_epoch

    def reset(self) -> None:
        """Forget when the work was last done."""
        self._last = None


def _is_last_of_epoch(trainer: Trainer, *, otherwise: bool) -> bool:
    """Whether this is the last validation of the epoch; `otherwise` if that is unknown."""
    between, batches = trainer.val_check_batch, trainer.num_training_batches
    if between is None or math.isinf(between) or math.isinf(batches):
        return otherwise
    return batches - (trainer.fit_loop.batch_idx + 1) < between
