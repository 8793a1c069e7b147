"""Random numbers after resuming are those that an uninterrupted training draws."""

# ruff: noqa: NPY002  NumPy's old generator is what transforms of images may use
from __future__ import annotations

import random
import subprocess
import sys

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from camtrain import Classifier
from camtrain.callbacks import StepCost, TrainingRandomness
from camtrain.callbacks.step_cost import peak_memory
from camtrain.data import DecoyDigits

CPU = torch.device("cpu")


def drawn():
    """A few numbers of each generator; an odd count of normal ones, since generators draw them in pairs."""
    return random.random(), random.gauss(0, 1), float(np.random.rand()), float(np.random.randn()), float(torch.rand(()))


def test_generators_go_on_from_the_state_that_was_kept(tmp_path):
    drawn()
    torch.save(TrainingRandomness().state_dict(), tmp_path / "state.pt")
    expected = [drawn() for _ in range(3)]
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    TrainingRandomness().load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert [drawn() for _ in range(3)] == expected


@pytest.mark.slow  # each epoch starts a worker
def test_workers_draw_what_those_of_a_training_that_was_not_stopped_draw(tmp_path):
    """The order of the images and their augmentations, which are made in processes of their own."""

    def trained(epochs, ckpt_path=None):
        pl.seed_everything(0, verbose=False)
        network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 10))
        trainer = pl.Trainer(
            max_epochs=epochs, callbacks=[TrainingRandomness()], accelerator="cpu", logger=False, limit_train_batches=4,
            limit_val_batches=0, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        data = DecoyDigits(batch_size=16, samples_per_digit=4, num_workers=1)
        trainer.fit(Classifier(network, 10), data, ckpt_path=ckpt_path, weights_only=True)
        trainer.save_checkpoint(tmp_path / "last.ckpt")
        return network[1].weight

    whole = trained(3)
    first = trained(1)
    assert not torch.equal(trained(3, tmp_path / "last.ckpt"), first)
    trained(1)
    assert torch.equal(trained(3, tmp_path / "last.ckpt"), whole)


@pytest.mark.parametrize("kind", ["cpu", "meta"])
def test_the_time_of_a_step_is_between_the_starts_of_two(monkeypatch, kind):
    """The median of 3, 1 and 1 s; the time around validation is left out. The processor's is the mean of 1, 1, 0.1."""
    clock, processor = iter([10.0, 13.0, 14.0, 100.0, 101.0]), iter([5.0, 6.0, 7.0, 50.0, 50.1])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    monkeypatch.setattr("time.process_time", lambda: next(processor))
    logged = {}

    class Module:
        device = torch.device(kind)

        def log(self, key, value, **_):
            logged[key] = value

    cost = StepCost()
    cost.on_train_epoch_start(None, Module())
    for number in range(5):
        if number == 3:
            cost.on_validation_start(None, Module())
        cost.on_train_batch_start(None, Module(), None, number)
    cost.on_train_epoch_end(None, Module())
    assert logged["train/seconds_per_step"] == 1.0
    assert logged.get("train/processor_seconds_per_step") == (pytest.approx(0.7) if kind == "cpu" else None)
    assert logged["train/peak_memory_mib"] > 50


@pytest.mark.slow
def test_peak_memory_grows_with_what_is_held():
    before = peak_memory(CPU)
    held = torch.ones(2**28 + int(2**18 * before))  # a GiB more than the peak so far
    assert peak_memory(CPU) >= before + 500
    del held
    # The peak of a process that this large process starts is its own.
    code = "import torch; from camtrain.callbacks.step_cost import peak_memory; print(peak_memory(torch.device('cpu')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 50 < float(done.stdout) < peak_memory(CPU) - 200
