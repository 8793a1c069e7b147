"""Calls in forked children: each in a process and a folder of its own, with limits, and with what became of it.

Importing torch, Lightning and W&B takes seconds. They are imported once, here; a child has them at once.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import resource
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import tqdm

Key = TypeVar("Key")
How = Literal["returned", "exited", "raised", "killed", "hung"]
_TICK = 0.02  # seconds between two looks at the children
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG
_ROOT = Path(__file__).parents[2]

# Its thread would not survive a fork, and the lock that it may hold would.
tqdm.tqdm.monitor_interval = 0


@dataclass(frozen=True)
class Call:
    """What a child does.

    Attributes:
        body: Called in the child. What it returns must be something that JSON can hold.
        folder: A new folder, which is the child's working folder; its output is in `<folder>.said`.
        seconds: The child is ended after this time, with all that it started.
        memory: The number of bytes that it may allocate; `None` is no limit.
        file_size: The largest number of bytes of a file that it may write; `None` is no limit.
    """

    body: Callable[[], Any]
    folder: Path
    seconds: float = 30.0
    memory: int | None = None
    file_size: int | None = None


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    Attributes:
        how: `returned`: the body did; `exited`: it ended the process, with `status`; `raised`: it raised `error`;
            `killed`: a signal ended it; `hung`: it took too long.
        status: The exit status; the number of the signal if it was killed.
        error: The name of the exception's class.
        message: Its message.
        raised_in: The file that raised it.
        on_purpose: True if a `raise` did, and not something that went wrong.
        said: What was printed, to either stream.
        warnings: The messages of warnings.
        value: What the body returned.
        peak: The largest resident memory of the child, in bytes; 0 if it was killed.
        seconds: The time that it took.
    """

    how: How
    status: int = 0
    error: str = ""
    message: str = ""
    raised_in: str = ""
    on_purpose: bool = False
    said: str = ""
    warnings: tuple[str, ...] = ()
    value: Any = None
    peak: int = 0
    seconds: float = 0.0

    @property
    def printed_a_traceback(self) -> bool:
        """True if the output has a traceback."""
        return "Traceback (most recent call last)" in self.said


def run_children(calls: Iterable[tuple[Key, Call]], jobs: int = 1) -> Iterator[tuple[Key, Ended]]:
    """Run calls in forked children, some at a time, and yield each with its end, in the order in which they end.

    Args:
        calls: The calls, each with a key. An iterator is asked for the next one when there is room for it.
        jobs: The number of children at a time.
    """
    waiting, running = iter(calls), dict[int, tuple[Key, Call, float]]()
    exhausted = False
    try:
        while running or not exhausted:
            while not exhausted and len(running) < jobs:
                following = next(waiting, None)
                exhausted = following is None
                if following is not None:
                    running[_forked(following[1])] = (*following, time.monotonic())
            for process in list(running):
                key, call, started = running[process]
                status = _status(process)
                hung = status is None and time.monotonic() - started > call.seconds
                if status is None and not hung:
                    continue
                del running[process]
                _end(process, reap=hung)
                yield key, _ended(call, status, time.monotonic() - started)
            time.sleep(_TICK)
    finally:
        for process in running:
            _end(process, reap=True)


def run_child(call: Call) -> Ended:
    """Run one call in a forked child."""
    ((_, ended),) = run_children([("", call)])
    return ended


def plain(text: str, folder: Path | None = None, length: int = 200) -> str:
    """Shorten a text to what is the same on every machine: without its folders, addresses, colors and line ends."""
    for place, name in ((folder, "CASE"), (_ROOT, "PROJECT"), (Path(sys.prefix), "PYTHON"), (Path.home(), "HOME")):
        if place is not None and str(place) != "/":
            text = text.replace(f"{place}/", "" if name == "PROJECT" else f"{name}/").replace(str(place), name)
    text = re.sub(r"\x1b\[[0-9;]*m", " ", text)
    text = re.sub(r"[^\x20-\x7e\x80-\U0010ffff]+", " ", text)
    text = re.sub(r"0x[0-9a-f]{6,}", "0x…", text)
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1] + "…"


def last_line(text: str) -> str:
    """Return the last line of an output that says something, hints to the help aside."""
    lines = [line.strip() for line in text.replace("\r", "\n").split("\n")]
    return next((line for line in reversed(lines) if line and "--help` explains" not in line), "")


def _forked(call: Call) -> int:
    call.folder.mkdir(parents=True, exist_ok=True)
    for suffix in (".said", ".json"):
        _beside(call, suffix).unlink(missing_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    process = os.fork()
    if process == 0:
        try:
            _work(call)
        finally:
            os._exit(70)  # it has ended already, unless the harness itself is broken
    return process


def _work(call: Call) -> None:
    """Be the child."""
    os.setsid()
    _end_with_parent()
    _redirect(_beside(call, ".said"))
    os.chdir(call.folder)
    found: dict[str, Any] = {}
    # A process inherits the peak of its parent.
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if call.file_size is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # an OSError instead, as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (call.file_size, resource.RLIM_INFINITY))
    if call.memory is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (call.memory, call.memory))
    said: list[str] = []
    try:
        with _recorded_warnings(said):
            found = {"how": "returned", "value": call.body()}
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        found = {"how": "exited", "status": status}
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
    except BaseException as error:
        traceback.print_exc()
        frames = traceback.extract_tb(error.__traceback__)
        where, line = (frames[-1].filename, frames[-1].line or "") if frames else ("", "")
        found = {"how": "raised", "error": type(error).__name__, "message": str(error), "raised_in": where}
        found["on_purpose"] = re.match(r"raise\b", line) is not None
    sys.stdout.flush()
    sys.stderr.flush()
    if call.file_size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    found |= {"warnings": said, "peak": _peak()}
    _beside(call, ".json").write_text(json.dumps(found, default=str), encoding="utf-8")
    os._exit(0)


@contextlib.contextmanager
def _recorded_warnings(said: list[str]) -> Iterator[None]:
    """Keep what is warned about, beside printing it; what Python hides by default stays hidden."""
    with warnings.catch_warnings():
        warnings.resetwarnings()
        for hidden in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", hidden)
        usual = warnings.showwarning

        def show(message: Any, category: type[Warning], *place: Any, **more: Any) -> None:
            said.append(str(message))
            usual(message, category, *place, **more)

        warnings.showwarning = show
        yield


def _end_with_parent() -> None:
    """Let the kernel end this process with its parent, which may be killed."""
    ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)


def _redirect(path: Path) -> None:
    """Send both streams of this process to a file, and give it no input."""
    output = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
    for descriptor in (1, 2):
        os.dup2(output, descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  they last as long as the process
    sys.stdout = open(1, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115
    sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr  # type: ignore[misc]


def _peak() -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found is not None  # every Linux has it
    return int(found.group(1)) * 1024


def _beside(call: Call, suffix: str) -> Path:
    return call.folder.with_name(call.folder.name + suffix)


def _status(process: int) -> int | None:
    found, status = os.waitpid(process, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def _end(process: int, *, reap: bool) -> None:
    """End a child and what it has started, which is in a session of its own."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process, signal.SIGKILL)
    if reap:
        os.waitpid(process, 0)


def _ended(call: Call, status: int | None, seconds: float) -> Ended:
    said = _beside(call, ".said")
    text = said.read_text(encoding="utf-8", errors="replace") if said.is_file() else ""
    record = _beside(call, ".json")
    if status is None:
        ended = Ended("hung", said=text, seconds=seconds)
    elif status < 0 or not record.is_file():
        ended = Ended("killed", status=-status, said=text, seconds=seconds)
    else:
        found = json.loads(record.read_text(encoding="utf-8"))
        found["warnings"] = tuple(found["warnings"])
        ended = Ended(**found, said=text, seconds=seconds)
    for path in (said, record):
        path.unlink(missing_ok=True)
    return ended
