"""Starts a program and ends it, with all that it started, when the process that asked for it is gone.

This file is run as a script, `python -I -S supervisor.py PROGRAM WORD...`, and imports almost nothing. So it watches
from the first moment, also while the program still imports torch, and answers at once, whatever the program does.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

_PATIENCE = 1.0  # seconds that a process which left the group has to end by itself
_ADOPTS_ORPHANS = 36  # Linux's PR_SET_CHILD_SUBREAPER
_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main(words: list[str]) -> NoReturn:
    """Run the program, pass signals on to it, and end as it ends.

    Args:
        words: The program and its arguments.
    """
    child: list[int] = []
    waiting: list[int] = []

    def pass_on(number: int, _frame: object) -> None:
        if child:
            _send(child[0], number)  # it may just have ended
        else:
            waiting.append(number)

    for number in _FORWARDED:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, pass_on)
    _adopt_orphans()
    threading.Thread(target=_watch, daemon=True).start()
    nothing = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
    child.append(os.posix_spawnp(words[0], words, os.environ, file_actions=[nothing]))
    for early in waiting:
        _send(child[0], early)
    _end_as(_status_of(child[0]))


def _watch() -> None:
    """Wait for the other end of the standard input to close, which the kernel does however that process ends."""
    while os.read(0, 1024):
        pass
    end_all()


def _status_of(child: int) -> int:
    """The status of the program once it has ended; orphans that were adopted are taken note of meanwhile."""
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == child:
            return os.waitstatus_to_exitcode(status)


def _end_as(status: int) -> NoReturn:
    if status < 0:
        if -status not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
        time.sleep(_PATIENCE)  # a signal that ends no process
    os._exit(abs(status))


def end_all() -> NoReturn:
    """End this process and all below it.

    Those of its own group end at once. Others, such as W&B's own process, are asked to, and made to a second later.
    """
    me, group = os.getpid(), os.getpgrp()
    below = set(_below(me))
    outside = {each for each in below if _group_of(each) != group}
    for each in below - outside:
        _send(each, signal.SIGKILL)
    for each in outside:
        _send(each, signal.SIGTERM)
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end and any(map(_runs, outside)):
        time.sleep(0.02)
    # Once more from the top: what was ended may have started something just before.
    for each in (*outside, *_below(me)):
        _send(each, signal.SIGKILL)
    os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _adopt_orphans() -> None:
    """Let processes whose parent ended become this one's children instead of the system's; only Linux can."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_ADOPTS_ORPHANS, 1, 0, 0, 0)


def _below(top: int) -> Iterator[int]:
    """The processes below one, as Linux lists them; elsewhere none are known."""
    children: dict[int, list[int]] = {}
    for place in Path("/proc").glob("[0-9]*"):
        if fields := _stat(int(place.name)):
            children.setdefault(int(fields[1]), []).append(int(place.name))
    found = [top]
    while found:
        for each in children.pop(found.pop(), []):
            yield each
            found.append(each)


def _stat(pid: int) -> list[str]:
    """State, parent and group of a process; empty if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _group_of(pid: int) -> int:
    return int(fields[2]) if (fields := _stat(pid)) else 0


def _runs(pid: int) -> bool:
    return bool(fields := _stat(pid)) and fields[0] != "Z"


def _send(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


if __name__ == "__main__":
    main(sys.argv[1:])
