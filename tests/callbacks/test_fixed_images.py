"""The same few images for any sampler."""

from __future__ import annotations

import random

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from camtrain.callbacks import CAMLogger


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
