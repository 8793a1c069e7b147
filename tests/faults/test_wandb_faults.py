"""W&B never ends a training: whatever it does, the training reaches its end, and its own files are complete."""

from __future__ import annotations

import csv
import errno
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
import torch
import wandb
from torch import nn

from camtrain import CamtrainWarning
from camtrain.cli import main
from camtrain.runs import guarded_run, wandb_run
from camtrain.runs.guarded_run import GuardedRun, NoRun
from camtrain.runs.guarded_wandb_logger import GuardedWandbLogger, finish_wandb
from camtrain.runs.time_limited import NoAnswerError, time_limited
from camtrain.runs.wandb_mode import wandb_mode
from camtrain.runs.wandb_run import opened_run
from tests.offline_run import OfflineRun

QUIET = {"console": "off", "x_disable_stats": True, "x_disable_meta": True, "silent": True}
COMPLETE = "metrics.csv has everything"
CONFIG = """
model:
  network: {class_path: camtrain.networks.CIFARResNet, init_args: {depth: 8, width: 4, stem_stride: 2}}
data: {class_path: camtrain.data.DecoyDigits, init_args: {batch_size: 8}}
run: {test: false}
trainer:
  max_epochs: 2
  limit_train_batches: 1
  limit_val_batches: 1
  accelerator: cpu
  enable_progress_bar: false
  callbacks: {class_path: killer.Killer}
cam_logger: {num_images: 1}
localization_scores: {num_images: 0}
"""
KILLER = """
import os, signal
from pytorch_lightning import Callback
from tests.faults.test_wandb_faults import services

class Killer(Callback):
    def on_train_start(self, trainer, module):
        for number in services():
            os.kill(number, signal.SIGKILL)
"""


# A service that is killed leaves W&B no time to wait for it.
pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")


def services() -> list[int]:
    """The processes of W&B that this one has started."""
    found = subprocess.run(["pgrep", "-P", str(os.getpid()), "-f", "wandb-core"], capture_output=True, text=True)
    return [int(number) for number in found.stdout.split()]


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    """No account, no server, folders of the test's own, and no service of W&B before and after."""
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("CACHE", "CONFIG", "DATA"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / name))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.chdir(tmp_path)
    guarded_run.end_service()
    yield
    for number in services():
        os.kill(number, signal.SIGCONT)
    guarded_run.end_service()


@pytest.fixture
def server(monkeypatch):
    """The address of a server that takes connections and never answers; of a closed port once it is closed."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{listening.getsockname()[1]}")
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        yield listening


def opened(mode="offline", folder="run", **more):
    Path(folder).mkdir(exist_ok=True)
    return opened_run(mode, Path(folder).absolute(), COMPLETE, settings=wandb.Settings(**QUIET), **more)


def rows_of(run, folder="run"):
    """What the only run in a folder has, once it is finished."""
    run.finish()
    (place,) = Path(folder, "wandb").glob("*run-*")
    assert place.name.startswith("offline-run-")
    return [row for row in OfflineRun(place).history if "a" in row]


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("limit", [1.0, pytest.param(None, marks=pytest.mark.slow)])
def test_a_server_that_cannot_be_reached_makes_the_run_offline(server, closed, limit, monkeypatch):
    if closed:
        server.close()
    if limit is not None:
        monkeypatch.setattr(wandb_run, "_SERVER_LIMIT", limit)
    started = time.monotonic()
    with pytest.warns(CamtrainWarning, match=r"the run is offline, and `wandb sync run/wandb/offline-run-\S+` uploads"):
        run = opened("online")
    if limit is None:  # the first one in a process imports for seconds
        assert time.monotonic() - started < 20
    run.log({"a": 1})
    assert [row["a"] for row in rows_of(run)] == [1]


def test_without_a_key_the_run_is_offline():
    with pytest.warns(CamtrainWarning, match=r"no API key is known; `wandb login` stores one; the run is offline"):
        run = opened("online")
    run.log({"a": 1})
    assert [row["a"] for row in rows_of(run)] == [1]


def test_folders_that_cannot_be_written_are_in_the_folder_of_the_run(monkeypatch):
    Path("file").touch()
    for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR"):
        monkeypatch.setenv(name, str(Path("file/below").absolute()))
    with pytest.warns(CamtrainWarning, match="file/below cannot be written .* is run/wandb/.* instead") as said:
        run = opened()
    assert len(said) == 2
    run.log({"a": 1, "table": wandb.Table(columns=["a"], data=[[1]])})  # W&B keeps it in its data folder
    assert [row["table"]["nrows"] for row in rows_of(run)] == [1]
    assert any(path.is_file() for path in Path("run/wandb/data").rglob("*"))


def test_a_run_that_cannot_be_written_is_none():
    Path("run").mkdir()
    Path("run/wandb").touch()
    with pytest.warns(CamtrainWarning, match=r"Error: .*run/wandb.*; it takes no part, and metrics.csv has everything"):
        run = opened()
    run.log({"a": 1})
    run.config.update({"b": 1})
    run.summary["c"] = 1
    run.finish()
    assert isinstance(run, NoRun)
    assert run.disabled


def test_a_service_that_dies_is_warned_about_once():
    run = opened()
    run.log({"a": 1})
    for number in services():
        os.kill(number, signal.SIGKILL)
    time.sleep(0.2)

    def go_on():
        for _ in range(3):
            run.log({"a": 2})
            run.summary.update({"b": 1})
            run.config["c"] = 1
        run.finish()

    with pytest.warns(CamtrainWarning, match=r"the run goes on, and metrics.csv .*; `wandb sync \S+` uploads") as said:
        go_on()
    assert len(said) == 1
    with warnings.catch_warnings():  # the next run has a service of its own
        warnings.simplefilter("error")
        again = opened(folder="next")
    again.log({"a": 3})
    assert [row["a"] for row in rows_of(again, "next")] == [3]


def test_a_log_that_cannot_be_written_is_no_traceback(monkeypatch, capsys):
    """W&B's own log, on a disk that is full."""
    run = opened()
    of_file = [each for each in logging.getLogger("wandb").handlers if isinstance(each, logging.FileHandler)]
    assert of_file

    def full(text):
        raise OSError(errno.ENOSPC, "No space left on device")

    for handler in of_file:
        monkeypatch.setattr(handler.stream, "write", full, raising=False)
    logging.getLogger("wandb").error("a line")
    assert capsys.readouterr().err == ""
    monkeypatch.undo()
    run.finish()


def test_a_service_that_hangs_is_waited_for_once(monkeypatch):
    monkeypatch.setattr(guarded_run, "UPLOAD_LIMIT", -14.5)
    monkeypatch.setattr(guarded_run, "_TEARDOWN_LIMIT", 0.5)
    run = opened()
    for number in services():
        os.kill(number, signal.SIGSTOP)
    started = time.monotonic()
    with pytest.warns(CamtrainWarning, match="no answer within 0.5 s"):
        run.finish()
    run.log({"a": 1})  # without another warning, which would be an error here
    assert time.monotonic() - started < 5


def test_hooks_that_wandb_has_put_on_a_network_do_not_end_its_training():
    run = opened()
    network = nn.Linear(2, 1)
    run.watch(network, log_freq=1)
    for number in services():
        os.kill(number, signal.SIGKILL)
    time.sleep(0.2)
    loss = network(torch.ones(1, 2)).sum()
    with pytest.warns(CamtrainWarning, match="Connection lost"):
        loss.backward()
    wandb.log({"a": 1})
    run.finish()


@pytest.mark.parametrize("asked", ["offline", "online", "disabled"])
@pytest.mark.parametrize(
    ("given", "mode"),
    [
        ("online", "online"),
        ("run", "online"),
        ("offline", "offline"),
        ("dryrun", "offline"),
        ("shared", "shared"),
        ("disabled", "disabled"),
        ("", None),
    ],
)
def test_the_environment_decides_unless_wandb_is_disabled(monkeypatch, asked, given, mode):
    monkeypatch.setenv("WANDB_MODE", given)
    assert wandb_mode(asked) == ("disabled" if asked == "disabled" else mode or asked)


@pytest.mark.parametrize("mode", ["online", "shared"])
def test_a_mode_that_needs_a_server_is_offline_without_a_key(monkeypatch, mode):
    monkeypatch.setenv("WANDB_MODE", mode)
    with pytest.warns(CamtrainWarning, match="no API key"):
        run = opened(wandb_mode("offline"))
    assert run.offline
    run.finish()


def test_a_mode_that_wandb_does_not_know_is_named(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "sometimes")
    with pytest.warns(CamtrainWarning, match="WANDB_MODE: expected online, .*, got 'sometimes'; W&B's mode is offline"):
        run = opened(wandb_mode("offline"))
    run.log({"a": 1})
    assert len(rows_of(run)) == 1


def test_a_training_whose_service_is_killed_reaches_its_end(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["camtrain", "fit", "--config", "small.yaml"])
    Path("killer.py").write_text(KILLER)
    Path("small.yaml").write_text(CONFIG)
    main()
    said = [line for line in capsys.readouterr().err.splitlines() if "warning: W&B" in line]
    assert len(said) == 1
    assert "the run goes on, and metrics.csv and panels/ have everything" in said[0]
    run = Path("runs/small/version_0")
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows if row["val/accuracy"]] == ["0", "1"]
    assert sorted(path.name for path in run.glob("panels/*")) == ["val_epoch_0.png", "val_epoch_1.png"]
    assert (run / "scores.json").is_file()
    assert (run / "checkpoints/last.ckpt").is_file()


def test_finishing_does_not_raise_for_a_run_of_another_logger(monkeypatch):
    monkeypatch.setattr(wandb, "run", object())

    def broken(*_):
        raise ConnectionResetError("gone")

    monkeypatch.setattr(wandb, "finish", broken)
    with pytest.warns(CamtrainWarning, match="ConnectionResetError: gone"):
        finish_wandb([])


def test_a_logger_has_no_run_before_it_is_needed(tmp_path):
    logger = GuardedWandbLogger(tmp_path / "run", "offline", "abc", settings=wandb.Settings(**QUIET))
    assert logger.version == "abc"
    logger.finish()
    assert not (tmp_path / "run").exists()
    logger.log_hyperparams({"b": 1})
    logger.log_metrics({"a": 1.0}, step=3)
    assert isinstance(logger.experiment, GuardedRun)
    (row,) = rows_of(logger.experiment)
    assert (row["a"], row["trainer/global_step"]) == (1, 3)


def test_a_run_in_use_is_waited_for(monkeypatch):
    """As after `kill -9`, which W&B's own process survives by a few seconds."""
    attempts, init = [], wandb.init

    def busy(**settings):
        attempts.append(settings["id"])
        if len(attempts) < 3:
            raise RuntimeError(f"run ID {settings['id']} is in use")
        return init(**settings)

    monkeypatch.setattr(wandb, "init", busy)
    run = opened(id="abc")
    run.finish()
    assert attempts == ["abc"] * 3
    attempts.clear()
    with pytest.warns(CamtrainWarning, match="is in use; it takes no part"):
        assert opened(id="abc", patience=0.0).disabled


def test_a_call_that_does_not_return_is_left_behind():
    with pytest.raises(NoAnswerError, match=r"no answer within 0\.1 s"):
        time_limited(lambda: time.sleep(2), 0.1)
    with pytest.raises(RuntimeError, match="SystemExit"):
        time_limited(lambda: exit(1), 5)
