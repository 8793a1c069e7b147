"""The same few images, whatever draws the batches."""

from __future__ import annotations

import random

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from camtrain.batch import Batch
from camtrain.callbacks import CAMLogger
from camtrain.callbacks.fixed_images import evenly_spaced, first_images


@pytest.mark.parametrize(("total", "count"), [(1, 1), (7, 3), (10, 10), (5, 8), (100, 8), (0, 3)])
def test_indices_are_different_ordered_and_spread(total, count):
    indices = evenly_spaced(total, count)
    assert len(set(indices)) == len(indices) == min(total, count)
    assert indices == sorted(indices)
    assert all(0 <= index < total for index in indices)
    for share, index in enumerate(indices):
        assert share * total // len(indices) <= index < -(-(share + 1) * total // len(indices))


def test_first_images_are_copies():
    masks = torch.ones(3, 4, 4, dtype=torch.bool)
    batch = Batch(torch.rand(3, 3, 4, 4), torch.arange(3), [torch.ones(k, 4) for k in range(3)], masks)
    first = first_images(batch, 2)
    batch.images.zero_(), batch.labels.zero_(), batch.boxes[1].zero_(), batch.masks.zero_()
    assert len(first) == 2
    assert first.images.all()
    assert first.labels.tolist() == [0, 1]
    assert [len(boxes) for boxes in first.boxes] == [0, 1]
    assert first.boxes[1].all()
    assert first.masks.all()


def test_reading_them_changes_no_random_generator(tiny_module, tiny_data, tiny_trainer):
    """Also not where a data set draws from all of them, and fails."""
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
