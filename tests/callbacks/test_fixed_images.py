"""The same few images for any sampler."""

from __future__ import annotations

import random

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, SubsetRandomSampler, TensorDataset

from camtrain.batch import Batch
from camtrain.callbacks import CAMLogger, FaithfulnessScores, LocalizationScores
from camtrain.callbacks.fixed_images import fixed_images, fixed_indices


def test_reading_them_changes_no_random_generator(tiny_module, tiny_data, tiny_trainer):
    """Random generators are left as found, also if a data set draws from all of them and fails."""
    data, drawn, before = tiny_data(), [], []

    def generators():
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002

    class Careless(type(data.samples)):
        def __getitem__(self, index):
            drawn.append((random.random(), np.random.rand(700), torch.rand(1)))  # noqa: NPY002
            if len(drawn) > 12:
                raise OSError("broken image")
            return super().__getitem__(index)

    class Recorder(pl.Callback):
        def on_test_epoch_end(self, trainer, pl_module):
            before.append(generators())

    data.samples = Careless()
    trainer = tiny_trainer(Recorder(), CAMLogger(num_images=4))
    with pytest.raises(OSError, match="broken image"):
        trainer.test(tiny_module(), data)  # 10 images by the loader, then 4 by the callback, of which the third fails
    assert len(drawn) == 13
    assert before == [generators()]


def test_they_go_through_the_hooks_of_the_module(tiny_module, tiny_data, tiny_trainer):
    """What the network sees in the stage: here images that the module has made darker and lighter again."""
    seen, found = [], []

    class Changes(tiny_module):
        def on_before_batch_transfer(self, batch, dataloader_idx):
            changed = Batch.of(batch)
            changed.images = changed.images / 2
            return changed

        def on_after_batch_transfer(self, batch, dataloader_idx):
            batch.images = batch.images + 1
            return batch

        def test_step(self, batch, batch_idx):
            seen.append(Batch.of(batch).images.clone())
            super().test_step(batch, batch_idx)

    class Reads(pl.Callback):
        def on_test_epoch_end(self, trainer, pl_module):
            found.append(fixed_images(trainer, pl_module, "test", 10).images)

    tiny_trainer(Reads()).test(Changes(), tiny_data().test_dataloader())
    assert torch.equal(found[0].sort(dim=0).values, torch.cat(seen).sort(dim=0).values)


def test_they_are_those_that_a_sampler_takes():
    """One data set for training and validation, and a sampler that tells them apart."""
    samples = TensorDataset(torch.arange(20))
    validation = DataLoader(samples, sampler=SubsetRandomSampler([18, 3, 9, 4, 1, 12]))
    assert fixed_indices(validation, 99) == [1, 3, 4, 9, 12, 18]
    assert set(fixed_indices(validation, 3)) < {1, 3, 4, 9, 12, 18}
    assert fixed_indices(DataLoader(samples, shuffle=True), 99) == list(range(20))


def test_a_score_that_two_callbacks_log_is_refused(tiny_module, tiny_data, tiny_trainer):
    """Lightning would log the mean of both."""
    both = ["average_drop", "energy_pointing_game"]
    callbacks = [LocalizationScores(), FaithfulnessScores(metrics=both)]
    with pytest.raises(ValueError, match="got energy_pointing_game/grad_cam from LocalizationScores and"):
        tiny_trainer(*callbacks, max_epochs=1, logger=False).fit(tiny_module(), tiny_data())
    for different in ({"num_images": 0}, {"methods": ["layer_cam"]}):
        other = FaithfulnessScores(metrics=both, **different)
        tiny_trainer(LocalizationScores(), other, max_epochs=1, logger=False).fit(tiny_module(), tiny_data())
