"""A process that ends when its parent does, however the parent ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

_VARIABLE = "CAMTRAIN_TETHERED"
_IS_TETHERED = threading.Event()


def start_tethered(
    words: Sequence[str], log: Path, environment: Mapping[str, str], kept_open: int
) -> subprocess.Popen[bytes]:
    """Start a process that calls `end_with_parent`.

    It has a process group of its own, so that Ctrl-C reaches its parent alone, which then decides.

    Args:
        words: The program and its arguments.
        log: The file that its output is added to.
        environment: Environment variables beside those of this process.
        kept_open: A file descriptor that it inherits, such as a lock's: a lock is held as long as any process has it.
    """
    with log.open("ab") as output:
        return subprocess.Popen(
            list(words),
            # Nothing is ever written to it. The kernel closes it with this process, even on `kill -9`.
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment, _VARIABLE: "1"},
            pass_fds=[kept_open],
            start_new_session=True,
        )


def restart(words: Sequence[str]) -> NoReturn:
    """Replace this process by another one, which ends with its parent as this one does.

    Args:
        words: The program and its arguments.
    """
    if _IS_TETHERED.is_set():
        os.environ[_VARIABLE] = "1"
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(words[0], list(words))


def end_with_parent() -> None:
    """In a process that `start_tethered` started: end it and its children with the parent. In others, nothing."""
    # Children of this process are not tethered to anything.
    if os.environ.pop(_VARIABLE, None):
        _IS_TETHERED.set()
        threading.Thread(target=_wait_for_the_end, args=(os.dup(0),), daemon=True).start()
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115  it lasts as long as the process


def _wait_for_the_end(descriptor: int) -> None:
    while os.read(descriptor, 1024):
        pass
    os.killpg(0, signal.SIGKILL)
