"""Runs the trials of a study in processes of this machine."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import torch

from camtrain.ablation.trial_run import Outcome, run_trial
from camtrain.study import Study, Trial


def run_locally(study: Study, command: Sequence[str], jobs: int, tell: Callable[[Outcome], None]) -> list[Outcome]:
    """Run all trials, so many at a time.

    Each has processes of its own, with the study's number of threads. Where there are GPUs, the jobs are dealt out over
    them. A trial that fails stops no other. Trials that another call runs on the same folder are left to it, and waited
    for at the end.

    Args:
        study: written to disk.
        command: words that call `camtrain`.
        jobs: processes at a time.
        tell: called with the outcome of each trial, one at a time.

    Raises:
        KeyboardInterrupt: on Ctrl-C, once the running processes are ended. Called again, it goes on.
    """
    stop, telling = threading.Event(), threading.Lock()
    devices: SimpleQueue[str | None] = SimpleQueue()
    for job in range(jobs):
        devices.put(_device(job))

    def run(trial: Trial, *, wait: bool) -> Outcome:
        if stop.is_set():
            return Outcome(trial.name, "stopped")
        device = devices.get()
        try:
            environment = {} if device is None else {"CUDA_VISIBLE_DEVICES": device}
            outcome = run_trial(study, trial, command, environment, wait=wait, stop=stop)
        finally:
            devices.put(device)
        if outcome.status not in ("held", "stopped"):
            with telling:
                tell(outcome)
        return outcome

    with ThreadPoolExecutor(jobs) as pool:
        try:
            first = list(pool.map(lambda trial: run(trial, wait=False), study.trials))
            held = {outcome.trial for outcome in first if outcome.status == "held"}
            waited = pool.map(lambda trial: run(trial, wait=True), [each for each in study.trials if each.name in held])
            outcomes = {outcome.trial: outcome for outcome in [*first, *waited]}
        except BaseException:
            stop.set()
            raise
    return [outcomes[trial.name] for trial in study.trials]


def _device(job: int) -> str | None:
    """Which GPU a job sees; `None` leaves it as it is."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(index) for index in range(torch.cuda.device_count())]
    return names[job % len(names)] if names else None
