"""Run a trial in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from camtrain.ablation.outcome import Outcome
from camtrain.ablation.running_trial import noted_as_running, progress_file
from camtrain.ablation.tether import end_tethered, start_tethered
from camtrain.ablation.trial_lock import trial_lock
from camtrain.files import CannotWriteError, write_whole
from camtrain.runs import PROGRESS_FILE
from camtrain.study import Study, Trial

WORKER = (sys.executable, "-m", "camtrain.ablation.worker")
_CHECK = 0.2  # seconds between two looks at a running process
_STOPPED = (
    128 + signal.SIGTERM,
    -signal.SIGTERM,
    128 + signal.SIGINT,
    -signal.SIGINT,
)  # a cluster's preemption, Ctrl-C
_STOPPED_BEFORE_ITS_END = "a signal stopped it before its end; the same call goes on with it"
_PATIENCE = 10.0  # seconds that a process has to end once it is asked to


class TrialStoppedError(Exception):
    """A trial was told to stop."""


def run_trial(
    study: Study,
    trial: Trial,
    environment: Mapping[str, str] | None = None,
    *,
    wandb: str | None = None,
    wait: bool = True,
    stop: threading.Event | None = None,
    worker: Sequence[str] = WORKER,
) -> Outcome:
    """Run a worker that trains, scores and enters in the study what is not yet there.

    Args:
        study: The study that the trial belongs to, written to disk.
        trial: The trial to run.
        environment: Environment variables of the worker, beside those of this process.
        wandb: W&B's mode; `None` is the study's.
        wait: True waits until another process that runs the trial is done, instead of returning `held`.
        stop: Once set, the worker is ended, or the waiting.
        worker: The words that start a worker; the study's folder and the trial are added to them.
    """
    stop = stop or threading.Event()
    mode = () if wandb is None else (wandb,)
    while True:
        try:
            outcome = _run_if_free(study, trial, environment or {}, stop, worker, mode)
        except CannotWriteError as error:  # not even the lock
            return Outcome(trial.name, "failed", log=study.folder_of(trial) / "trial.log", message=str(error))
        if outcome.status != "held" or not wait:
            return outcome
        if stop.wait(_PATIENCE / 10):
            return Outcome(trial.name, "stopped")


def _run_if_free(
    study: Study,
    trial: Trial,
    environment: Mapping[str, str],
    stop: threading.Event,
    worker: Sequence[str],
    mode: Sequence[str],
) -> Outcome:
    started = time.monotonic()
    folder = study.folder_of(trial)
    log = folder / "trial.log"
    # Another process may be about to finish it: only who holds the lock can tell.
    with trial_lock(folder) as lock:
        if lock is None:
            return Outcome(trial.name, "held")
        try:
            if study.row(trial) is not None and not study.lost_files(trial):
                return Outcome(trial.name, "was finished")
            study.hand_over(trial)
            threads = str(study.plan.threads)
            variables = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
            # What a configuration names must be importable there as it is here.
            variables |= {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **environment}
            variables[PROGRESS_FILE] = str(progress_file(folder))
            words = [*worker, str(study.folder), folder.name, *mode]
            with noted_as_running(folder):
                status = _status_of(start_tethered(words, log, variables, lock), stop)
            seconds = time.monotonic() - started
            if status in _STOPPED:
                return Outcome(trial.name, "stopped", seconds, log, _STOPPED_BEFORE_ITS_END)
            if status:
                return Outcome(trial.name, "failed", seconds, log, _why(status, log))
            if study.row(trial) is None or study.lost_files(trial):
                return Outcome(trial.name, "failed", seconds, log, "the worker ended without an error, and no result")
        except TrialStoppedError:
            return Outcome(trial.name, "stopped", time.monotonic() - started)
        except Exception as error:  # whatever it is, the other trials go on
            log = folder / "error.log"
            with suppress(OSError):  # it may be what is wrong
                write_whole(log, traceback.format_exc())
            message = f"{type(error).__name__}: {error}"
            return Outcome(trial.name, "failed", time.monotonic() - started, log, message)
    return Outcome(trial.name, "finished", seconds)


def _status_of(process: subprocess.Popen[bytes], stop: threading.Event) -> int:
    """The exit status of a process, once it has ended."""
    try:
        while process.poll() is None:
            if stop.wait(_CHECK):
                raise TrialStoppedError
    finally:
        end_tethered(process, _PATIENCE)
    return process.returncode


def _why(status: int, log: Path) -> str:
    """What to say of a worker that ended with an error."""
    if status > 0:
        return _last_line(log)
    name = signal.Signals(-status).name
    hint = " (often for want of memory: try fewer jobs)" if -status == signal.SIGKILL else ""
    return f"ended by {name}{hint}; before: {_last_line(log)}"


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").replace("\r", "\n").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "no output")
