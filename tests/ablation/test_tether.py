"""A process ends with the one that started it, and so does all that it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from camtrain.ablation import supervisor
from camtrain.ablation.tether import end_tethered, start_tethered

# As `start_tethered` does, without the import of the package, which takes seconds.
PARENT = f"""
import subprocess, sys
from pathlib import Path
words = [sys.executable, "-I", "-S", {supervisor.__file__!r}, sys.executable, "-c", Path("child.py").read_text()]
with open("log", "ab") as log:
    subprocess.Popen(words, stdin=subprocess.PIPE, stdout=log, start_new_session=True).wait()
"""
# It holds Python's lock for good, as the import of a large library does for seconds.
CHILD = """
import ctypes, os, subprocess, sys
from pathlib import Path
print("has no input:", sys.stdin.read() == "", flush=True)
sleep = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"]
grandchild, other = subprocess.Popen(sleep), subprocess.Popen(sleep, start_new_session=True)
Path("pids").write_text(f"{os.getpid()} {grandchild.pid} {other.pid}\\n")
ctypes.PyDLL(None).sleep(600)
"""


@pytest.fixture
def parent(tmp_path):
    """A process with a tethered child, and the ids of the child and its own children."""
    (tmp_path / "child.py").write_text(CHILD)
    process = subprocess.Popen([sys.executable, "-c", PARENT], cwd=tmp_path)
    pids = tmp_path / "pids"
    _until(lambda: pids.is_file() and pids.read_text().endswith("\n"))
    alive = [int(word) for word in pids.read_text().split()]
    yield process, alive
    process.kill()
    process.wait()
    for pid in filter(_is_running, alive):
        os.kill(pid, signal.SIGKILL)


def test_all_end_within_two_seconds_of_a_killed_parent(parent, tmp_path):
    """Also the one that left the process group, as W&B's process does."""
    process, alive = parent
    assert all(map(_is_running, alive))
    process.send_signal(signal.SIGKILL)
    process.wait()
    _until(lambda: not any(map(_is_running, alive)), seconds=2)
    assert (tmp_path / "log").read_text() == "has no input: True\n"


def test_what_is_supervised_ends_where_the_supervisor_is_killed(tmp_path):
    (tmp_path / "lock").touch()
    words = [sys.executable, "-I", "-S", "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(600)"]
    with (tmp_path / "lock").open() as lock:
        process = start_tethered(words, tmp_path / "log", {}, lock.fileno())
    _until(lambda: (tmp_path / "log").read_text().endswith("\n"))
    child = int((tmp_path / "log").read_text())
    process.kill()
    process.wait()
    end_tethered(process, 5)
    _until(lambda: not _is_running(child), seconds=2)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("import sys; sys.exit(7)", 7),
        ("pass", 0),
        ("import os; os.kill(os.getpid(), 11)", -signal.SIGSEGV),
        ("import os, signal; os.kill(os.getppid(), signal.SIGTERM); signal.pause()", -signal.SIGTERM),
    ],
)
def test_it_ends_as_the_process_ends(tmp_path, code, status):
    """A signal to the one that is seen reaches the other."""
    (tmp_path / "lock").touch()
    with (tmp_path / "lock").open() as lock:
        words = [sys.executable, "-I", "-S", "-c", code]
        process = start_tethered(words, tmp_path / "log", {}, lock.fileno())
    assert process.wait(30) == status
    end_tethered(process, 5)


def _until(is_so, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.05)


def _is_running(pid: int) -> bool:
    """Whether there is such a process; one that has ended may still wait for someone to ask how."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        return not Path("/proc/self").exists()  # gone meanwhile; a system without /proc has said all that it can
    return state != "Z"
