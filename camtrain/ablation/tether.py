"""A process that ends when its parent does, however the parent ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from camtrain.ablation import supervisor

_SUPERVISOR = (sys.executable, "-I", "-S", supervisor.__file__)


def start_tethered(
    words: Sequence[str], log: Path, environment: Mapping[str, str], kept_open: int
) -> subprocess.Popen[bytes]:
    """Start a process that ends when this one does, with all that it started, within two seconds.

    It has a process group of its own, so that Ctrl-C reaches its parent alone, which then decides. A supervisor stands
    between the two: it ends as the process ends, and passes signals on to it.

    Args:
        words: The program and its arguments.
        log: The file that its output is added to.
        environment: Environment variables beside those of this process.
        kept_open: A file descriptor that it inherits, such as a lock's: a lock is held as long as any process has it.
    """
    with log.open("ab") as output:
        return subprocess.Popen(
            [*_SUPERVISOR, *words],
            # Nothing is ever written to it. The kernel closes it with this process, even on `kill -9`.
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            pass_fds=[kept_open],
            start_new_session=True,
        )


def end_tethered(process: subprocess.Popen[bytes], patience: float) -> None:
    """End a process that `start_tethered` started, and all that it started, if it has not ended.

    Args:
        process: The process.
        patience: The longest time to wait before it is killed, in seconds.
    """
    if process.stdin:
        process.stdin.close()  # the supervisor ends everything where nobody holds the other end
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.returncode < 0:
        # Whoever killed the supervisor did not kill what it supervised.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def restart(words: Sequence[str]) -> NoReturn:
    """Replace this process by another one, which ends with its parent as this one does.

    Args:
        words: The program and its arguments.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(words[0], list(words))
