"""The processes that Lightning starts for several devices: if one dies, all end, with one line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pytorch_lightning import Trainer
from pytorch_lightning.strategies.launchers import subprocess_script

_PARENT = "CAMTRAIN_TRAINING_PARENT"
_CHECK = 0.5  # seconds between two looks at the other processes
_PATIENCE = 10.0  # seconds that this process has to be stopped by the signal that stopped another one
_STOPPED = (-signal.SIGTERM, -signal.SIGINT, 128 + signal.SIGTERM, 128 + signal.SIGINT)


@contextmanager
def watched_children(trainer: Trainer, command: str) -> Iterator[None]:
    """Watch the processes that Lightning starts inside, and in such a process the one that started it.

    If one of them dies, the others would wait for it for up to half an hour. Lightning's own observer kills all
    processes, this one included, without a message on why.

    Args:
        trainer: The trainer that runs inside.
        command: The subcommand.
    """
    if int(os.environ.get("LOCAL_RANK", "0")) > 0:
        _end_with_parent()
        yield
        return

    started: list[subprocess.Popen[bytes]] = []

    def observe(processes: Sequence[subprocess.Popen[bytes]]) -> None:
        started.extend(processes)
        threading.Thread(target=_watch, args=(processes, trainer, command), daemon=True).start()

    lightnings = subprocess_script._launch_process_observer  # type: ignore[attr-defined]
    subprocess_script._launch_process_observer = observe  # type: ignore[attr-defined, assignment]
    os.environ[_PARENT] = str(os.getpid())
    try:
        yield
    except Exception:
        # The main thread may notice first, by the connection that broke.
        _end_if_one_was_killed(started, command)
        raise
    finally:
        subprocess_script._launch_process_observer = lightnings  # type: ignore[attr-defined]
        os.environ.pop(_PARENT, None)


def _watch(processes: Sequence[subprocess.Popen[bytes]], trainer: Trainer, command: str) -> None:
    while any(process.poll() is None for process in processes) or any(process.returncode for process in processes):
        if _is_stopping(trainer):
            return
        rank, status = next(((r, p.returncode) for r, p in enumerate(processes, 1) if p.returncode), (0, 0))
        if status in _STOPPED:
            time.sleep(_PATIENCE)
            if _is_stopping(trainer):
                return
        if status:
            _end(processes, command, rank, status)
        time.sleep(_CHECK)


def _end_if_one_was_killed(processes: Sequence[subprocess.Popen[bytes]], command: str) -> None:
    """A process that ended by itself has told why; one that was killed could not."""
    for rank, process in enumerate(processes, 1):
        status = process.poll()
        if status is not None and status < 0 and status not in _STOPPED:
            _end(processes, command, rank, status)


def _end(processes: Sequence[subprocess.Popen[bytes]], command: str, rank: int, status: int) -> None:
    """Say which process died, and end all."""
    for process in processes:
        process.kill()
    print(_line(command, rank, len(processes) + 1, status), file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(1)  # the main thread may wait for the other process, and cannot be interrupted


def _is_stopping(trainer: Trainer) -> bool:
    """Whether this process ends anyway, and the others with it, in any order."""
    return bool(trainer.interrupted or trainer.received_sigterm)


def _line(command: str, rank: int, number: int, status: int) -> str:
    """What is said of a process that died.

    Example:
        >>> print(_line("fit", 1, 2, -9))
        camtrain fit: error: process 2 of 2 was ended by SIGKILL, so the others were ended, too
    """
    how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
    return f"camtrain {command}: error: process {rank + 1} of {number} {how}, so the others were ended, too"


def _end_with_parent() -> None:
    """End this process when the one is gone that started it, however it ended."""
    parent = os.environ.get(_PARENT)
    if parent is None:  # the cluster has started the processes, and ends them
        return

    def wait() -> None:
        while os.getppid() == int(parent):
            time.sleep(_CHECK)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
