"""In which epochs of a training something is made that takes time."""

from __future__ import annotations

from pytorch_lightning import Trainer
from pytorch_lightning.trainer.states import TrainerFn


class Interval:
    """The first validation of fit, then whenever so many epochs have passed since the last time, and the last epoch.

    Outside of fit it is always due.

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
        return epoch - last >= self.every_n_epochs or (epoch > last and epoch + 1 == trainer.max_epochs)

    def done(self, trainer: Trainer) -> None:
        """It was made in this epoch."""
        self._last = trainer.current_epoch

    def reset(self) -> None:
        """Begin anew."""
        self._last = None
