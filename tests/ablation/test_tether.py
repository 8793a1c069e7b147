"""A process ends with the one that started it, and so do its own children."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PARENT = """
import os, sys, time
from pathlib import Path
from camtrain.ablation.tether import start_tethered
with open("lock", "w") as lock:
    start_tethered([sys.executable, "-c", Path("child.py").read_text()], Path("log"), {"WORD": "said"}, lock.fileno())
    time.sleep(600)
"""
CHILD = """
import os, subprocess, sys, time
from pathlib import Path
from camtrain.ablation.tether import end_with_parent
end_with_parent()
print(os.environ["WORD"], sys.stdin.read() == "", flush=True)
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
Path("pids").write_text(f"{os.getpid()} {grandchild.pid}\\n")
time.sleep(600)
"""


def test_it_ends_when_its_parent_is_killed(tmp_path):
    (tmp_path / "child.py").write_text(CHILD)
    parent = subprocess.Popen([sys.executable, "-c", PARENT], cwd=tmp_path)
    pids = tmp_path / "pids"
    _until(lambda: pids.is_file() and pids.read_text().endswith("\n"))
    alive = [int(word) for word in pids.read_text().split()]
    time.sleep(0.5)
    assert all(map(_is_running, alive))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    _until(lambda: not any(map(_is_running, alive)))
    assert (tmp_path / "log").read_text() == "said True\n"


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
