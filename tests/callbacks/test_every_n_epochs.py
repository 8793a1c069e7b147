"""`EveryNEpochs`: the first and the last validation of trainings of Lightning, however their end is set."""

from __future__ import annotations

import pytest
import pytorch_lightning as pl
from torch.utils.data import DataLoader, IterableDataset

from camtrain.batch import collate
from camtrain.callbacks.every_n_epochs import EveryNEpochs


class Scheduled(pl.Callback):
    """Notes the steps and the epochs of all validations, and of those in which work is due."""

    def __init__(self, every_n_epochs):
        self.schedule = EveryNEpochs(every_n_epochs)
        self.steps, self.due_steps, self.due_epochs = [], [], []

    def on_validation_epoch_end(self, trainer, pl_module):
        self.steps.append(trainer.global_step)
        if self.schedule.is_due(trainer):
            self.due_steps.append(trainer.global_step)
            self.due_epochs.append(trainer.current_epoch)
            self.schedule.done(trainer)


@pytest.mark.parametrize(
    ("every", "settings", "expected"),
    [
        (4, {"max_epochs": 5, "check_val_every_n_epoch": 2}, [1, 3]),
        (9, {"max_epochs": 7, "check_val_every_n_epoch": 3}, [2, 5]),
        (9, {"max_epochs": -1, "max_steps": 9}, [0, 2]),
        (9, {"max_epochs": -1, "max_steps": 10}, [0, 2]),  # the step of epoch 3 is followed by no validation
        (2, {"max_epochs": -1, "max_steps": 12}, [0, 2, 3]),
        (9, {"max_epochs": 3, "max_steps": 100}, [0, 2]),
        # Steps after the second and the third batch of an epoch.
        (9, {"max_epochs": -1, "max_steps": 5, "accumulate_grad_batches": 2}, [0, 1]),
        # Validations after 4, 8 and 12 batches, in epochs 1, 2 and 3.
        (9, {"max_epochs": 4, "val_check_interval": 4, "check_val_every_n_epoch": None}, [1, 3]),
        (9, {"max_epochs": -1, "max_steps": 11, "val_check_interval": 4, "check_val_every_n_epoch": None}, [1, 2]),
    ],
)
def test_by_hand_with_three_batches_in_an_epoch(every, settings, expected, tiny_module, tiny_data, tiny_trainer):
    callback = Scheduled(every)
    tiny_trainer(callback, logger=False, **settings).fit(tiny_module(), tiny_data())
    assert callback.due_epochs == expected


@pytest.mark.parametrize(("every", "check_val_every_n_epoch"), [(2, 1), (3, 2), (9, 1)])
@pytest.mark.parametrize("stopped_after", [1, 3, 4])
def test_a_resumed_training_is_due_when_one_that_was_not_stopped_is(
    every, check_val_every_n_epoch, stopped_after, tiny_module, tiny_data, tiny_trainer, tmp_path
):
    def trained(last_epoch, ckpt_path=None):
        class Stops(pl.Callback):
            def on_train_epoch_end(self, trainer, pl_module):
                trainer.should_stop = trainer.current_epoch + 1 == last_epoch

        callback = Scheduled(every)
        trainer = tiny_trainer(
            callback, Stops(), logger=False, limit_train_batches=1, limit_val_batches=1, max_epochs=7,
            check_val_every_n_epoch=check_val_every_n_epoch,
        )  # fmt: skip
        trainer.fit(tiny_module(), tiny_data(), ckpt_path=ckpt_path, weights_only=True)
        trainer.save_checkpoint(tmp_path / "last.ckpt")
        return callback.due_epochs

    whole = trained(7)
    before = trained(stopped_after)
    after = trained(7, ckpt_path=tmp_path / "last.ckpt")
    assert before + after == whole


@pytest.mark.parametrize("length", [{"max_epochs": 4}, {"max_epochs": 5, "max_steps": 8}, {"max_steps": 7}])
@pytest.mark.parametrize("accumulate_grad_batches", [1, 2])
@pytest.mark.parametrize(
    "when",
    [
        {"val_check_interval": 1},
        {"val_check_interval": 2},
        {"val_check_interval": 2, "check_val_every_n_epoch": 2},
        {"val_check_interval": 2, "check_val_every_n_epoch": None},
        {"val_check_interval": 5, "check_val_every_n_epoch": None},
    ],
)
def test_the_last_validation_is_lightnings(length, accumulate_grad_batches, when, tiny_module, tiny_data, tiny_trainer):
    callback, settings = Scheduled(100), {"max_epochs": -1, **length, **when}
    trainer = tiny_trainer(callback, logger=False, accumulate_grad_batches=accumulate_grad_batches, **settings)
    trainer.fit(tiny_module(), tiny_data())
    assert callback.due_steps == sorted({callback.steps[0], callback.steps[-1]})


def test_data_without_a_length(tiny_module, tiny_data, tiny_trainer):
    samples = tiny_data().samples

    class Stream(IterableDataset):
        def __iter__(self):
            return (samples[index] for index in range(10))

    loader, callback = DataLoader(Stream(), batch_size=4, collate_fn=collate), Scheduled(4)
    trainer = tiny_trainer(callback, logger=False, max_epochs=5, check_val_every_n_epoch=2)
    trainer.fit(tiny_module(), loader, loader)
    assert callback.due_epochs == [1, 3]
