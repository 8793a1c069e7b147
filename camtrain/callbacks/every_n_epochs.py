"""When a callback does work that takes too long to be done in every epoch."""

from __future__ import annotations

import math

from pytorch_lightning import Trainer
from pytorch_lightning.trainer.states import TrainerFn

from camtrain.messages import positive_integer


class EveryNEpochs:
    """A schedule in fit: the first validation, then every n epochs, and the last validation.

    If an epoch has several validations (`val_check_interval`), the work is due in the first of them. In the last epoch
    that has any it is due in the last one, which sees the final network, or in the first one if their number is
    unknown. Outside of fit the work is always due.

    The last validation is the last one before `max_epochs` or `max_steps`. It cannot be known where something else ends
    the training, such as early stopping or `max_time`; with `max_steps`, where the number of batches of an epoch is
    unknown or the module takes its steps itself; and where the number of validations depends on time.

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
        epoch = trainer.current_epoch
        last = self._before(trainer) if self._last is None else self._last
        if trainer.state.fn != TrainerFn.FITTING or last is None:
            return True
        if _has_known_length(trainer):
            left, (until_next, until_later_epoch) = _batches_left(trainer), _batches_until_validation(trainer)
            is_last_epoch, is_last = until_later_epoch > left, until_next > left
        else:
            is_last_epoch = epoch + (trainer.check_val_every_n_epoch or 1) >= _epochs(trainer)
            is_last = epoch > last
        return is_last if is_last_epoch else epoch - last >= self.every_n_epochs

    def _before(self, trainer: Trainer) -> int | None:
        """The epoch in which the work was last done before a training was stopped; `None` in the first validation.

        A training that is resumed does it in the epochs in which one that was not stopped does it. Where validations
        are counted in batches over all epochs, it does it in its first one.
        """
        between, last = trainer.check_val_every_n_epoch, None
        for epoch in range(between - 1, trainer.current_epoch, between) if between else ():
            if last is None or epoch - last >= self.every_n_epochs:
                last = epoch
        return last

    def done(self, trainer: Trainer) -> None:
        """Note that the work was done in this epoch."""
        self._last = trainer.current_epoch

    def reset(self) -> None:
        """Forget when the work was last done."""
        self._last = None


def _has_known_length(trainer: Trainer) -> bool:
    """Whether it is known how many batches and validations an epoch has."""
    between = trainer.val_check_batch
    return between is not None and not math.isinf(between) and not math.isinf(trainer.num_training_batches)


def _epochs(trainer: Trainer) -> float:
    return math.inf if trainer.max_epochs is None or trainer.max_epochs < 0 else trainer.max_epochs


def _batches_left(trainer: Trainer) -> float:
    """The number of batches from the present one to the last one of the training; infinite if nothing limits it."""
    batches, done = int(trainer.num_training_batches), trainer.fit_loop.batch_idx + 1
    left = (_epochs(trainer) - trainer.current_epoch) * batches - done
    if trainer.max_steps < 0 or not trainer.lightning_module.automatic_optimization:
        return left
    of_step = trainer.accumulate_grad_batches
    steps = math.ceil(batches / of_step)  # of an epoch: its last batch makes a step in any case
    taken = steps if done == batches else done // of_step
    # The last step of the training, counted from the beginning of this epoch.
    epochs, step = divmod(taken + trainer.max_steps - trainer.global_step - 1, steps)
    return min(left, epochs * batches + min((step + 1) * of_step, batches) - done)


def _batches_until_validation(trainer: Trainer) -> tuple[int, int]:
    """The number of batches from the present one to the next validation, and to the first one of a later epoch."""
    assert trainer.val_check_batch is not None
    batches, between = int(trainer.num_training_batches), int(trainer.val_check_batch)
    done, every = trainer.fit_loop.batch_idx + 1, trainer.check_val_every_n_epoch
    left_in_epoch = batches - done
    if every is None:  # batches are counted over all epochs
        following = between - (trainer.fit_loop.total_batch_idx + 1) % between
        later = following + max(0, left_in_epoch - following + between) // between * between
    else:
        following = between - done % between
        later = left_in_epoch + (every - 1) * batches + between
    return (following if following <= left_in_epoch else later), later
