"""What a run that fails leaves behind."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from camtrain.runs.failed_run import failed_run
from camtrain.runs.stopped import TrainingStoppedError


@pytest.fixture
def run(tmp_path) -> Path:
    folder = tmp_path / "runs/study/plain/version_0"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("model: {}")
    (folder / "wandb/offline-run-1").mkdir(parents=True)
    (folder / "wandb/offline-run-1/run.wandb").write_bytes(b"1")
    return folder


NO = ValueError("no")


def fails(run, error=NO, begun=False, above=()):
    with pytest.raises(type(error)) as raised, failed_run(lambda: [run, *above] if run else [], lambda: begun):
        raise error
    return getattr(raised.value, "__notes__", [])


def test_an_empty_run_is_removed_with_the_folders_that_it_made(run, tmp_path):
    above = list(run.parents)[:3]
    assert above[-1].parent == tmp_path
    assert fails(run, ValueError("no"), above=above) == []
    assert list(tmp_path.iterdir()) == []


def test_folders_of_other_runs_stay(run, tmp_path):
    (run.parents[1] / "other").mkdir()
    fails(run, above=[run.parents[0], run.parents[1], run.parents[2]])
    assert [each.name for each in tmp_path.rglob("*")] == ["runs", "study", "other"]


@pytest.mark.parametrize("name", ["metrics.csv", "checkpoints/last.ckpt", "scores.json", "notes.txt"])
def test_what_has_a_result_is_kept_with_the_traceback(run, name):
    (run / name).parent.mkdir(exist_ok=True)
    (run / name).write_text("1")
    (note,) = fails(run, ValueError("told"))
    assert note == f"The traceback is in {run / 'traceback.txt'}"
    assert "ValueError: told" in (run / "traceback.txt").read_text()


def test_what_has_begun_is_kept(run):
    fails(run, ValueError("new"), begun=True)
    assert (run / "config.yaml").exists()
    assert (run / "traceback.txt").exists()


def test_on_a_full_disk_there_is_no_traceback_and_no_empty_file(run, monkeypatch):
    (run / "metrics.csv").write_text("1")

    def full(number):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert fails(run) == []
    assert not (run / "traceback.txt").exists()


def test_a_run_that_was_stopped_has_not_failed(run):
    before = sorted(run.rglob("*"))
    fails(run, TrainingStoppedError("Ctrl-C stopped the training"))
    assert sorted(run.rglob("*")) == before


def test_without_a_folder_the_error_alone_remains():
    assert fails(None, ValueError("early")) == []
