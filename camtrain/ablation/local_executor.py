"""Runs the trials of a study in processes of this machine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue

from camtrain.ablation.cores import jobs_with_room
from camtrain.ablation.gpus import check_gpus, dealt_gpus, num_gpus
from camtrain.ablation.outcome import Outcome
from camtrain.ablation.trial_run import WORKER, run_trial
from camtrain.messages import positive_integer
from camtrain.study import Study, Trial


@dataclass(frozen=True)
class LocalExecutor:
    """Runs trials in processes of this machine.

    Each trial has a process of its own with the study's number of threads. Fewer than `jobs` run at a time where the
    cores are too few for that many threads. A trial that fails stops no other. Trials that another call runs on the
    same folder are left to it, and waited for at the end.

    One job sees all GPUs, and takes those that `trainer.devices` asks for, as `camtrain fit` does. Several jobs have
    GPUs of their own: as many as the number in `trainer.devices`, and one where it is `auto` or -1. Trials of one GPU
    share it where there are fewer than jobs.

    Attributes:
        jobs: The largest number of processes at a time.
        worker: The words that start a worker.

    Raises:
        ValueError: If `jobs` is not positive.
    """

    jobs: int = 1
    worker: Sequence[str] = WORKER

    def __post_init__(self) -> None:
        positive_integer("jobs", self.jobs)

    def check(self, study: Study) -> None:
        """Check that this machine has room for the trials, which nothing has to be written for.

        Args:
            study: The study.

        Raises:
            ValueError: If there are too few GPUs for `jobs` times `trainer.devices`.
        """
        check_gpus(self.jobs, study.trials)

    def __call__(self, study: Study, on_trial: Callable[[Outcome], None]) -> list[Outcome]:
        """Run all trials.

        Args:
            study: The study, written to disk.
            on_trial: Called with the outcome of each trial, one at a time.

        Raises:
            ValueError: If there are too few GPUs for `jobs` times `trainer.devices`.
            KeyboardInterrupt: On Ctrl-C, once the running processes are ended. Called again, it goes on.

        Warns:
            CamtrainWarning: If there are too few cores for `jobs`.
        """
        self.check(study)
        jobs = jobs_with_room(self.jobs, study.plan.threads)
        stop, telling = threading.Event(), threading.Lock()
        free: SimpleQueue[list[str]] = SimpleQueue()
        for gpus in dealt_gpus(jobs, study.trials) if self.jobs > 1 else [[]]:
            free.put(gpus)

        def run(trial: Trial, *, wait: bool) -> Outcome:
            if stop.is_set():
                return Outcome(trial.name, "stopped")
            gpus = free.get()
            try:
                environment = {"CUDA_VISIBLE_DEVICES": ",".join(gpus[: num_gpus(trial)])} if gpus else {}
                outcome = run_trial(study, trial, environment, wait=wait, stop=stop, worker=self.worker)
            finally:
                free.put(gpus)
            if outcome.status != "held" and not (outcome.status == "stopped" and stop.is_set()):
                with telling:
                    on_trial(outcome)
            return outcome

        with ThreadPoolExecutor(jobs) as pool:
            try:
                first = list(pool.map(lambda trial: run(trial, wait=False), study.trials))
                held = {outcome.trial for outcome in first if outcome.status == "held"}
                waiting = [each for each in study.trials if each.name in held]
                waited = pool.map(lambda trial: run(trial, wait=True), waiting)
                outcomes = {outcome.trial: outcome for outcome in [*first, *waited]}
            except BaseException:
                stop.set()
                raise
        return [outcomes[trial.name] for trial in study.trials]
