"""A run that a callback has ended stays at its end when it is resumed."""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from camtrain.runs import RunSettings, TrainingEnd, fit, training_end
from camtrain.runs.training_end import EndRecorder
from tests import squares
from tests.faults.conftest import QUICK, Killed, table

RUN = Path("runs/early/version_0")
STOPPING = """
  callbacks:
    - class_path: pytorch_lightning.callbacks.EarlyStopping
      init_args: {monitor: val/loss, min_delta: 1000, patience: 1}
"""
END = TrainingEnd("early_stop", epochs=2, steps=4)


@pytest.fixture
def early(monkeypatch, tmp_path):
    """Trains a configuration that ends after the second of nine epochs, with lines of it replaced."""
    shutil.copy(squares.__file__, tmp_path / "my_data.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def run(*replaced: tuple[str, str], name: str = "early", **settings: bool) -> Path:
        text = QUICK.replace("  max_epochs: 3\n", "  max_epochs: 9" + STOPPING)
        for old, new in replaced:
            assert old in text
            text = text.replace(old, new)
        Path("early.yaml").write_text(text)
        return fit("early.yaml", RunSettings(wandb="disabled", name=name, **settings))

    return run


@contextmanager
def killed_at(monkeypatch, hook):
    def kill(*_arguments):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(EndRecorder, hook, kill)
        with pytest.raises(Killed):
            yield


def steps_of(run: Path) -> int:
    return torch.load(run / "checkpoints/last.ckpt", weights_only=True)["global_step"]


def test_a_test_that_is_asked_for_later_trains_no_further(early):
    whole = early(name="whole")
    run = early(test=False)
    assert training_end(run) == END
    before = (run / "checkpoints/last.ckpt").read_bytes()
    assert early(resume=True) == run
    assert (run / "checkpoints/last.ckpt").read_bytes() == before
    assert training_end(run) == END
    assert table(run) == table(whole)
    # Nor does it on the way to the same test again.
    early(resume=True)
    assert steps_of(run) == 4


def test_a_kill_before_the_end_is_recorded_adds_no_epoch(early, monkeypatch):
    with killed_at(monkeypatch, "on_fit_end"):
        early()
    assert training_end(RUN) is None
    early(resume=True)
    assert training_end(RUN) == END
    assert "test/accuracy" in json.loads((RUN / "scores.json").read_text())


@pytest.mark.parametrize(
    ("replaced", "epochs"),
    [
        pytest.param([("max_epochs: 9", "max_epochs: 20")], 2, id="it would end there, too"),
        pytest.param([("max_epochs: 9", "max_epochs: 9\n  min_epochs: 4")], 4, id="more epochs are wanted"),
        pytest.param([("patience: 1", "patience: 3")], 4, id="more patience"),
        pytest.param([("max_epochs: 9", "max_epochs: 3"), (STOPPING, "\n")], 3, id="nothing stops it"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*callbacks used to create the checkpoint need to be provided")
def test_what_is_trained_further(early, replaced, epochs):
    early(test=False)
    early(*replaced, resume=True, test=False)
    end = training_end(RUN)
    assert (end.epochs, end.steps) == (epochs, 2 * epochs)
    assert steps_of(RUN) == 2 * epochs


def test_a_kill_after_the_patience_was_raised_keeps_it(early, monkeypatch):
    early(test=False)
    patient = ("patience: 1", "patience: 3")
    with killed_at(monkeypatch, "on_train_start"):
        early(patient, resume=True)
    early(patient, resume=True, test=False)
    assert training_end(RUN).epochs == 4


def test_a_run_at_the_end_of_its_time_trains_no_further(early):
    untimed = ("max_epochs: 9" + STOPPING, "max_epochs: -1\n  max_time: '00:00:00:01'\n")
    early(untimed, test=False)
    end = training_end(RUN)
    assert end.reason == "max_time"
    early(untimed, resume=True)
    assert training_end(RUN).steps == end.steps == steps_of(RUN)
