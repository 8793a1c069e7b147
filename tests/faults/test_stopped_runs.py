"""A run that a signal has stopped says so with its exit status, and only a finished one is recorded as such."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import nn
from torch.utils.data import DataLoader

from camtrain.runs import RunSettings, TrainingEnd, TrainingStoppedError, fit, training_end
from camtrain.runs.stopped import stop_without_broadcast, stops_as_errors
from camtrain.runs.training_end import EndRecorder

RUN = Path("runs/quick/version_0")


class Signal(Callback):
    """Sends a signal to this process, as a cluster or a keyboard does; Lightning's progress decides when."""

    def __init__(self, number: int, hook: str, step: int = 0):
        super().__init__()

        def send(trainer, *_more):
            if trainer.global_step >= step:
                os.kill(os.getpid(), number)

        setattr(self, hook, send)


@pytest.fixture(autouse=True)
def ctrl_c():
    """Ctrl-C is not ignored, as it is in what a script runs in its background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def sends(monkeypatch):
    """Adds a callback to the trainings that follow."""

    def add(*callbacks):
        from camtrain.runs import training_cli

        monkeypatch.setattr(training_cli, "StepCost", lambda: _Several(callbacks))

    return add


class _Several(Callback):
    def __init__(self, callbacks):
        self.callbacks = callbacks

    def __getattribute__(self, name):
        if not name.startswith("on_"):
            return super().__getattribute__(name)
        return lambda *arguments: [getattr(callback, name)(*arguments) for callback in self.callbacks] and None


@pytest.mark.parametrize(
    ("number", "status", "said"),
    [
        pytest.param(signal.SIGTERM, 143, "SIGTERM stopped", marks=pytest.mark.slow),
        (signal.SIGINT, 130, "Ctrl-C stopped"),
    ],
)
def test_a_stopped_training_is_not_a_finished_one(quick, sends, capsys, number, status, said):
    sends(Signal(number, "on_train_batch_end", 3))
    assert quick() == status
    error = capsys.readouterr().err
    assert f"camtrain fit: {said} the training before its end; the same command with --run.resume true" in error
    assert "Traceback" not in error
    assert training_end(RUN) is None
    assert not (RUN / "scores.json").exists()
    sends()
    assert quick("--run.resume", "true") == 0
    assert training_end(RUN) == TrainingEnd("max_epochs", epochs=3, steps=6)


@pytest.mark.parametrize("hook", [pytest.param("on_train_end", marks=pytest.mark.slow), "on_test_start"])
def test_a_run_that_is_stopped_between_training_and_scores_is_not_finished(quick, sends, hook):
    sends(Signal(signal.SIGTERM, hook))
    with pytest.raises(TrainingStoppedError) as caught:
        fit("quick.yaml", RunSettings(wandb="disabled"))
    assert caught.value.status == 143
    assert training_end(RUN) == TrainingEnd("max_epochs", epochs=3, steps=6), "its training is"


class StopsEarly(Callback):
    def on_train_epoch_end(self, trainer, pl_module):
        trainer.should_stop = True


@pytest.mark.parametrize(
    ("settings", "end"),
    [
        ({"max_epochs": 2}, TrainingEnd("max_epochs", 2, 8)),
        ({"max_steps": 3}, TrainingEnd("max_steps", 1, 3)),
        ({"max_time": "00:00:00:00", "max_epochs": 9}, TrainingEnd("max_time", 0, 0)),
        ({"max_epochs": 9, "callbacks": [StopsEarly()]}, TrainingEnd("early_stop", 1, 4)),
        ({"max_epochs": 9, "limit_train_batches": 0}, TrainingEnd("no_batches", 0, 0)),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_end_is_recorded(tmp_path, settings, end):
    recorder = EndRecorder()
    callbacks = [*settings.pop("callbacks", []), recorder]
    trainer = trainer_in(tmp_path, callbacks=callbacks, **settings)
    trainer.fit(Line(), DataLoader(torch.ones(8, 1), batch_size=2))
    assert recorder.end == end
    assert training_end(tmp_path) == end


def test_a_training_that_goes_on_after_its_end_has_none_until_it_ends_again(tmp_path):
    loader = DataLoader(torch.ones(8, 1), batch_size=2)
    trainer_in(tmp_path, callbacks=[EndRecorder()], max_epochs=1).fit(Line(), loader)
    assert training_end(tmp_path) is not None

    class Killed(BaseException):
        pass

    class Kills(Callback):
        def on_train_batch_end(self, *_arguments):
            raise Killed

    with pytest.raises(Killed):
        trainer_in(tmp_path, callbacks=[EndRecorder(), Kills()], max_epochs=2).fit(Line(), loader)
    assert training_end(tmp_path) is None


class Line(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def training_step(self, batch):
        return self.layer(batch).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trainer_in(folder, **settings):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return Trainer(
        default_root_dir=folder, accelerator="cpu", enable_model_summary=False, log_every_n_steps=1, **quiet, **settings
    )


def test_a_damaged_record_is_none(tmp_path):
    for text in ("", "{", "[]", '{"reason": "max_epochs"}'):
        (tmp_path / "training_end.json").write_text(text)
        assert training_end(tmp_path) is None


def test_other_ends_of_a_process_stay():
    with pytest.raises(SystemExit, match="2"), stops_as_errors("test"):
        raise SystemExit(2)
    with pytest.raises(TrainingStoppedError, match="SIGTERM stopped test before its end"), stops_as_errors("test"):
        raise SIGTERMException


def started(*words: str) -> subprocess.Popen[str]:
    call = [sys.executable, "-m", "camtrain.cli", *words]
    # What runs in the background of a script ignores Ctrl-C, and so would all that it starts.
    handled = partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    return subprocess.Popen(call, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, preexec_fn=handled)


def test_ctrl_c_during_the_imports_is_one_line():
    process = started("fit", "--config", "none.yaml")
    time.sleep(1)  # Python has started; the imports take six
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[1] == "camtrain fit: stopped by Ctrl-C\n"
    assert process.returncode == 130


@pytest.mark.slow
@pytest.mark.parametrize("command", ["fit", "test", "explain", "evaluate", "ablate"])
@pytest.mark.parametrize("seconds", [0.4, 2, 4, 8])
def test_an_early_ctrl_c_is_one_line(quick, command, seconds):
    Image.new("RGB", (64, 64)).save("photo.png")
    words = {"explain": ["--network", "resnet18", "--images", "photo.png"], "ablate": ["--out", "study"]}.get(
        command, []
    )
    process = started(command, *([] if command == "explain" else ["--config", "quick.yaml"]), *words)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=60)[1]
    assert "Traceback" not in error
    if process.returncode not in (0, 2):  # it was faster, or its words are wrong
        assert process.returncode == 130
        assert len(re.findall("^camtrain .*(Ctrl-C|stopped)", error, flags=re.MULTILINE)) == 1


def two_processes() -> tuple[subprocess.Popen[str], str]:
    """A training in two processes that has ended an epoch, and the number of the second one."""
    two = ["--trainer.devices", "2", "--trainer.strategy", "ddp", "--trainer.max_epochs", "1000"]
    process = started("fit", "--config", "quick.yaml", *two)
    end = time.monotonic() + 200
    while not (RUN / "checkpoints/last.ckpt").exists():
        assert time.monotonic() < end
        time.sleep(0.2)
    (child,) = subprocess.check_output(["pgrep", "-P", str(process.pid), "-f", "camtrain"], text=True).split()
    return process, child


@pytest.mark.slow
def test_a_process_that_dies_ends_all_with_a_line(quick):
    process, child = two_processes()
    os.kill(int(child), signal.SIGKILL)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert error.endswith("camtrain fit: error: process 2 of 2 was ended by SIGKILL, so the others were ended, too\n")
    assert "🧟" not in error


def test_a_signal_starts_no_collective_operation(monkeypatch):
    """Another process may wait in another one, and both would wait forever."""
    sent = []

    class Launcher:
        def kill(self, number):
            sent.append(number)

    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    stop_without_broadcast(trainer)
    trainer.strategy._launcher = Launcher()
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "broadcast", lambda *_, **__: pytest.fail("a broadcast"))
    monkeypatch.setattr(Trainer, "world_size", 2)
    before = signal.getsignal(signal.SIGTERM)
    trainer._signal_connector.register_signal_handlers()
    try:
        for _ in range(2):
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert trainer.received_sigterm
    assert sent == [signal.SIGTERM]  # once


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_the_first_one(quick, number):
    process, child = two_processes()
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGKILL: -9}[number]
    end = time.monotonic() + 5
    while Path("/proc", child).exists():
        assert time.monotonic() < end
        time.sleep(0.1)
