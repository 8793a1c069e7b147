"""No two processes train the same run."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from camtrain.files import LOCK, folder_lock
from camtrain.runs import run_lock
from camtrain.runs.resumed_run import resumed_run
from camtrain.runs.run_lock import RunLock

HOLDER = """
import fcntl, os, sys, time
descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(descriptor, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(run_lock, "_PATIENCE", 0.2)


@pytest.fixture
def held(tmp_path):
    """A folder whose lock another process holds, and the process."""
    words = [sys.executable, "-c", HOLDER, str(tmp_path / LOCK)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield tmp_path, process
        process.kill()


@pytest.mark.usefixtures("impatient")
def test_a_run_that_another_process_trains_is_named_and_a_killed_one_holds_nothing(held):
    folder, process = held
    with RunLock() as lock:
        with pytest.raises(ValueError, match=r"`run\.resume`: .* is being trained by another process; wait until"):
            lock.take(folder)
        process.kill()
        process.wait()
        lock.take(folder)


@pytest.mark.usefixtures("impatient")
def test_the_lock_is_held_until_it_is_let_go(tmp_path):
    with RunLock() as first, RunLock() as second:
        first.take(tmp_path)
        first.take(tmp_path)  # which it holds already
        with pytest.raises(ValueError, match="is being trained"):
            second.take(tmp_path)
        first.let_go(tmp_path)
        second.take(tmp_path)
    with RunLock() as third:
        third.take(tmp_path)


@pytest.mark.usefixtures("impatient")
def test_nothing_of_a_run_in_progress_is_touched(tmp_path):
    """To look for a checkpoint removes what is half-written, and sets aside what is damaged."""
    checkpoints = tmp_path / "version_0" / "checkpoints"
    checkpoints.mkdir(parents=True)
    (checkpoints / "last.ckpt").write_bytes(b"damaged")
    with RunLock() as other, RunLock() as lock:
        other.take(tmp_path / "version_0")
        with pytest.raises(ValueError, match="version_0 is being trained by another process"):
            resumed_run(tmp_path, lock)
        assert [path.name for path in checkpoints.iterdir()] == ["last.ckpt"]


def test_a_version_without_a_good_checkpoint_is_let_go(tmp_path):
    (tmp_path / "version_0").mkdir()
    with RunLock() as lock, RunLock() as other:
        assert resumed_run(tmp_path, lock) is None
        other.take(tmp_path / "version_0")


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_trains_all_the_same(tmp_path, monkeypatch, number):
    def refuses(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuses)
    with RunLock() as lock:
        lock.take(tmp_path)
        lock.take(tmp_path / "absent")
    monkeypatch.setattr(folder_lock, "_LOCKS", None)  # as on Windows
    with RunLock() as lock:
        lock.take(tmp_path)


def test_of_several_processes_the_first_one_holds_the_lock(tmp_path, monkeypatch):
    with monkeypatch.context() as patch, RunLock() as lock:
        patch.setattr(run_lock, "is_first_process", lambda: False)
        lock.take(tmp_path)
    with monkeypatch.context() as patch, RunLock() as lock:
        patch.setenv("NODE_RANK", "1")  # of the second of two machines, whose own processes are counted from 0
        lock.take(tmp_path)
    assert not (tmp_path / LOCK).exists()
    monkeypatch.setenv("NODE_RANK", "0")
    with RunLock() as lock:
        lock.take(tmp_path)
    assert (tmp_path / LOCK).exists()
