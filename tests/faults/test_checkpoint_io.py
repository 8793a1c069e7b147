"""Checkpoints are whole whenever a process is killed or the disk is full, and the last but one is kept."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.plugins.io import AsyncCheckpointIO

from camtrain.networks.checkpoint_file import CHECKSUM, is_intact
from camtrain.runs.checkpoint_io import WholeCheckpointIO, keep_checkpoints_whole


def step_of(path: Path) -> int:
    return torch.load(path, weights_only=True)["global_step"]


def test_the_last_checkpoint_and_the_one_before_it_are_kept(tmp_path):
    io, last = WholeCheckpointIO(), tmp_path / "checkpoints/last.ckpt"
    for step in range(4):
        io.save_checkpoint({"global_step": step, "state_dict": {"weight": torch.ones(2)}}, last)
        io.save_checkpoint({"global_step": step}, last.with_name("epoch_000.ckpt"))
    assert sorted(path.name for path in last.parent.iterdir()) == ["epoch_000.ckpt", "last.ckpt", "previous.ckpt"]
    assert step_of(last) == 3
    assert step_of(last.with_name("previous.ckpt")) == 2
    content = io.load_checkpoint(last)
    assert CHECKSUM in content
    assert is_intact(content)


def test_two_names_are_kept_without_links_too(tmp_path, monkeypatch):
    def no_link(*_arguments):
        raise OSError("Operation not supported")

    monkeypatch.setattr(os, "link", no_link)
    for step in range(3):
        WholeCheckpointIO().save_checkpoint({"global_step": step}, tmp_path / "last.ckpt")
    assert (step_of(tmp_path / "last.ckpt"), step_of(tmp_path / "previous.ckpt")) == (2, 1)


WRITER = """
import sys, torch
from pathlib import Path
from camtrain.runs.checkpoint_io import WholeCheckpointIO
print("ready", flush=True)
for step in range(10**9):
    WholeCheckpointIO().save_checkpoint({"global_step": step, "weight": torch.full((500_000,), step)}, sys.argv[1])
"""


@pytest.mark.slow  # a process that writes many checkpoints
def test_a_kill_leaves_no_torn_checkpoint(tmp_path):
    last = tmp_path / "last.ckpt"
    words = [sys.executable, "-c", WRITER, str(last)]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        for _ in range(40):  # a reader sees whole files only
            if last.exists():
                assert is_intact(torch.load(last, weights_only=True))
            time.sleep(0.01)
        process.kill()
    step = step_of(last)
    assert is_intact(torch.load(last, weights_only=True))
    assert step > 2
    assert step - step_of(tmp_path / "previous.ckpt") in (0, 1)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    last = tmp_path / "last.ckpt"
    WholeCheckpointIO().save_checkpoint({"global_step": 1}, last)
    save = torch.save
    monkeypatch.setattr(torch, "save", lambda content, path: save(content, "/dev/full"))
    with pytest.raises(OSError, match=r"cannot write the checkpoint .*last\.ckpt: .* MiB free") as caught:
        WholeCheckpointIO().save_checkpoint({"global_step": 2, "weight": torch.ones(10_000)}, last)
    assert "\n" not in str(caught.value)
    assert step_of(last) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_damaged_checkpoint_is_refused(tmp_path):
    io, last = WholeCheckpointIO(), tmp_path / "last.ckpt"
    torch.save({"state_dict": {"weight": torch.ones(3)}, CHECKSUM: "0" * 64}, last)
    with pytest.raises(ValueError, match=r"last\.ckpt is damaged: its checksum"):
        io.load_checkpoint(last)
    last.write_bytes(last.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"cannot read .*last\.ckpt as a checkpoint"):
        io.load_checkpoint(last)
    with pytest.raises(FileNotFoundError, match="`ckpt_path`: no such file"):
        io.load_checkpoint(tmp_path / "none.ckpt")


def test_a_plugin_that_a_configuration_names_stays():
    settings = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(**settings)
    keep_checkpoints_whole(trainer)
    assert isinstance(trainer.strategy.checkpoint_io, WholeCheckpointIO)
    own = Trainer(plugins=[AsyncCheckpointIO()], **settings)
    keep_checkpoints_whole(own)
    assert isinstance(own.strategy.checkpoint_io, AsyncCheckpointIO)
