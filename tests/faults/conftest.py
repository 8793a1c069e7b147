"""A training of a few seconds that is stopped in a given way."""

from __future__ import annotations

import csv
import shutil
import signal
from functools import partial
from pathlib import Path

import pytest

from camtrain.cli import main
from camtrain.runs import checkpoint_io
from tests import squares

QUICK = """
model:
  network: {class_path: camtrain.networks.CIFARResNet, init_args: {depth: 8, num_classes: 3, width: 2}}
  optimizer: {class_path: torch.optim.SGD, init_args: {lr: 0.1, momentum: 0.9}}
data: {class_path: my_data.Squares}
trainer:
  max_epochs: 3
  limit_train_batches: 2
  limit_val_batches: 1
  limit_test_batches: 2
  log_every_n_steps: 1
  accelerator: cpu
  enable_progress_bar: false
  enable_model_summary: false
cam_logger: {num_images: 0}
localization_scores: {num_images: 0}
run: {wandb: disabled}
"""


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """Runs `camtrain fit` in an empty folder, and returns its exit status."""
    _fill(tmp_path)
    monkeypatch.chdir(tmp_path)
    return partial(_fit, monkeypatch)


@pytest.fixture
def fit_here(monkeypatch):
    """Runs `camtrain fit` where `quick.yaml` is."""
    return partial(_fit, monkeypatch)


@pytest.fixture(scope="session")
def two_runs(tmp_path_factory) -> Path:
    """A folder with `runs/whole`, and with `runs/parts`, which was killed after its second `last.ckpt` of three."""
    folder = tmp_path_factory.mktemp("two_runs")
    _fill(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert _fit(patch, "--run.name", "whole") == 0
        with pytest.raises(Killed):
            fit_killed(patch, "--run.name", "parts")
    return folder


class Killed(BaseException):
    """What `kill -9` is to a process."""


def fit_killed(patch: pytest.MonkeyPatch, *words: str) -> None:
    """Run `camtrain fit` until its second `last.ckpt` is in its place."""
    save, times = checkpoint_io._save_whole, 0

    def save_and_die(content, path):
        nonlocal times
        save(content, path)
        times += path.name == "last.ckpt"
        if times == 2:
            raise Killed

    with patch.context() as inner:
        inner.setattr(checkpoint_io, "_save_whole", save_and_die)
        _fit(patch, *words)


def _fill(folder: Path) -> None:
    (folder / "quick.yaml").write_text(QUICK)
    shutil.copy(squares.__file__, folder / "my_data.py")


def _fit(patch: pytest.MonkeyPatch, *words: str) -> int:
    interrupt = signal.getsignal(signal.SIGINT)
    patch.setattr("sys.argv", ["camtrain", "fit", "--config", "quick.yaml", *words])
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    finally:
        signal.signal(signal.SIGINT, interrupt)  # Lightning ignores it while it shuts down
    return 0


def table(run: Path) -> list[dict[str, str]]:
    """The rows of a run, without what a computer is fast at."""
    with (run / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return [
            {
                key: value
                for key, value in row.items()
                if "seconds_per_step" not in key and key != "train/peak_memory_mib"
            }
            for row in csv.DictReader(file)
        ]
