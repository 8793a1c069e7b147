"""Runs the trials of a study on a Ray cluster."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from camtrain.ablation.trial_run import Outcome, run_trial
from camtrain.study import Study


def run_on_ray(
    study: Study,
    command: Sequence[str],
    gpus_per_trial: float,
    tell: Callable[[Outcome], None],
    jobs: int | None = None,
) -> list[Outcome]:
    """Run all trials as tasks of a Ray cluster, which places them by the cores and GPUs that they need.

    The cluster is the one that `ray.init()` finds (`RAY_ADDRESS`, or a local one that it starts). All its machines have
    to see the study's folder under the same path, and to have camtrain. A trial that fails stops no other; one whose
    machine is lost is run again, from its last checkpoint.

    Args:
        study: written to disk.
        command: words that call `camtrain`, on any machine of the cluster.
        gpus_per_trial: GPUs that a trial needs, a fraction if several share one.
        tell: called with the outcome of each trial, one at a time.
        jobs: trials at a time of a local cluster that this call starts; `None` takes all cores. A cluster that runs
            already has its own size.

    Raises:
        ModuleNotFoundError: without Ray.
    """
    ray = _ray()
    ours = not ray.is_initialized()
    if ours:
        _connect(ray, None if jobs is None else jobs * study.asked.threads)
    try:
        task = ray.remote(num_cpus=study.asked.threads, num_gpus=gpus_per_trial, max_retries=3)(_run)
        folder = study.folder.absolute()
        waiting = {task.remote(folder, trial.name, list(command)): trial.name for trial in study.trials}
        outcomes: dict[str, Outcome] = {}
        while waiting:
            (ready,), _ = ray.wait(list(waiting), num_returns=1)
            outcome = _outcome(ray, ready, waiting.pop(ready))
            outcomes[outcome.trial] = outcome
            tell(outcome)
    finally:
        if ours:
            ray.shutdown()
    return [outcomes[trial.name] for trial in study.trials]


def _run(folder: Path, name: str, command: list[str]) -> Outcome:
    study = Study.opened(folder)
    return run_trial(study, study.trial_named(name), command)


def _connect(ray: Any, cores: int | None) -> None:
    options = {"log_to_driver": False, "include_dashboard": False}
    if cores is None:
        ray.init(**options)
        return
    try:
        ray.init(num_cpus=cores, **options)
    except ValueError as error:
        if "existing cluster" not in str(error):
            raise
        ray.init(**options)


def _outcome(ray: Any, reference: Any, name: str) -> Outcome:
    try:
        found = ray.get(reference)
    except ray.exceptions.RayError as error:  # a lost machine, or one that does not have what it needs
        return Outcome(name, "failed", message=str(error).strip().splitlines()[-1])
    assert isinstance(found, Outcome)
    return found


def _ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("`--executor`: ray needs `pip install 'camtrain[ray]'`") from error
