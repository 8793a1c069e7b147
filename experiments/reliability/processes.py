"""Commands in real processes, with a mark by which all that they start can be found."""

from __future__ import annotations

import contextlib
import functools
import os
import resource
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

_MARK = "CAMTRAIN_RELIABILITY_CASE"
_ROOT = Path(__file__).parents[2]


class Marked:
    """A process of `camtrain <words>`, whose descendants carry the same mark in their environment.

    Args:
        words: The words.
        folder: Its working folder.
        output: The file that its output is added to.
        environment: Environment variables beside those of this process; `None` removes one.
        file_size: The largest number of bytes of a file that it may write; `None` is no limit.
    """

    def __init__(
        self,
        words: tuple[str, ...],
        folder: Path,
        output: Path,
        environment: Mapping[str, str | None] | None = None,
        file_size: int | None = None,
    ) -> None:
        self.mark = uuid.uuid4().hex
        variables = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(_ROOT), _MARK: self.mark}
        for name, value in (environment or {}).items():
            variables.pop(name, None)
            if value is not None:
                variables[name] = value
        self._output = output.open("ab")
        self._start = output.stat().st_size
        self.output = output
        self.process = subprocess.Popen(
            [sys.executable, "-m", "camtrain.cli", *words],
            cwd=folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=functools.partial(_prepare, file_size),
        )
        self.started = time.monotonic()

    def __enter__(self) -> Marked:
        return self

    def __exit__(self, *error: object) -> None:
        """End it, and all that it has started."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.end_survivors()
        self._output.close()

    def wait(self, seconds: float) -> int | None:
        """Wait for its end; `None` if it does not end in time."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(seconds)
        return None

    def send(self, number: signal.Signals) -> bool:
        """Send a signal to the process alone; false if it has ended."""
        if self.process.poll() is not None:
            return False
        self.process.send_signal(number)
        return True

    def said(self) -> str:
        """What it has printed."""
        with self.output.open("rb") as file:
            file.seek(self._start)
            return file.read().decode(errors="replace")

    def relatives(self) -> list[int]:
        """The processes that it has started, directly or not, and that are alive; itself left out."""
        return [process for process in marked_processes(self.mark) if process != self.process.pid]

    def gone_after(self, seconds: float) -> float | None:
        """Wait until its relatives are gone, and say how long that took; `None` if they are not gone in time."""
        started = time.monotonic()
        while time.monotonic() - started < seconds:
            if not self.relatives():
                return time.monotonic() - started
            time.sleep(0.1)
        return None

    def end_survivors(self) -> None:
        """End the processes that it has started, and wait until they are gone."""
        end = time.monotonic() + 30
        while (relatives := self.relatives()) and time.monotonic() < end:
            for process in relatives:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            time.sleep(0.05)


def marked_processes(mark: str) -> list[int]:
    """The processes with a mark that run."""
    found = []
    wanted = f"{_MARK}={mark}".encode()
    for path in Path("/proc").iterdir():
        if not path.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            if (
                wanted in (path / "environ").read_bytes()
                and " Z " not in (path / "stat").read_text().rpartition(")")[2]
            ):
                found.append(int(path.name))
    return found


def name_of(process: int) -> str:
    """The command line of a process, shortened; empty if it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:80]
    return ""


def _prepare(file_size: int | None) -> None:
    # What a script starts in the background ignores Ctrl-C, and so would all that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if file_size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
