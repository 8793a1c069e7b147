"""Runs the trials of a study on a Ray cluster."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from camtrain.ablation.outcome import Outcome
from camtrain.ablation.trial_run import run_trial
from camtrain.messages import CamtrainWarning, checked_number, positive_integer
from camtrain.study import Study, Trial


@dataclass(frozen=True)
class RayExecutor:
    """Runs trials as tasks of a Ray cluster, which places them by the cores and GPUs that they need.

    The cluster is the one that `ray.init()` finds (`RAY_ADDRESS`, or a local one that it starts). All its machines have
    to see the study's folder under the same path, and to have camtrain. A trial that fails stops no other; one whose
    machine is lost is run again, from its last checkpoint.

    Attributes:
        gpus_per_trial: The number of GPUs that a trial needs, a fraction if several share one.
        jobs: The number of trials at a time on a local cluster that this call starts; `None` takes all cores. A cluster
            that runs already has its own size.

    Raises:
        ValueError: If a number is negative, or `jobs` is not positive.
    """

    gpus_per_trial: float = 0.0
    jobs: int | None = None

    def __post_init__(self) -> None:
        checked_number("gpus_per_trial", self.gpus_per_trial, "a number of at least 0", at_least=0)
        if self.jobs is not None:
            positive_integer("jobs", self.jobs)

    def __call__(self, study: Study, on_trial: Callable[[Outcome], None]) -> list[Outcome]:
        """Run all trials.

        Args:
            study: The study, written to disk.
            on_trial: Called with the outcome of each trial, one at a time.

        Raises:
            ModuleNotFoundError: Without Ray.

        Warns:
            CamtrainWarning: If no machine of the cluster has what a trial needs.
        """
        ray = _ray()
        ours = not ray.is_initialized()
        if ours:
            _connect(ray, None if self.jobs is None else self.jobs * study.plan.threads)
        try:
            _warn_of_needs(ray, {"CPU": study.plan.threads, "GPU": self.gpus_per_trial})
            task = ray.remote(num_cpus=study.plan.threads, num_gpus=self.gpus_per_trial, max_retries=3)(_run)
            # As it is now: another call on the same folder may plan other trials meanwhile.
            study = Study(study.folder.absolute(), study.plan, study.trials)
            path = [each for each in sys.path if each]
            waiting = {task.remote(study, trial, path): trial.name for trial in study.trials}
            outcomes: dict[str, Outcome] = {}
            try:
                while waiting:
                    (ready,), _ = ray.wait(list(waiting), num_returns=1)
                    outcome = _outcome(ray, ready, waiting.pop(ready))
                    outcomes[outcome.trial] = outcome
                    on_trial(outcome)
            except BaseException:
                for reference in waiting:
                    ray.cancel(reference, force=True)  # its worker ends with it
                raise
        finally:
            if ours:
                ray.shutdown()
        return [outcomes[trial.name] for trial in study.trials]


def _run(study: Study, trial: Trial, path: list[str]) -> Outcome:
    return run_trial(study, trial, {"PYTHONPATH": os.pathsep.join([*path, *filter(None, sys.path)])})


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


def _warn_of_needs(ray: Any, needs: Mapping[str, float]) -> None:
    """Say what trials wait for, which Ray says to nobody; a cluster that grows may get it yet."""
    there = [node["Resources"] for node in ray.nodes() if node.get("Alive")]
    if any(all(each.get(name, 0) >= count for name, count in needs.items()) for each in there):
        return
    wanted = " and ".join(_counted(count, name) for name, count in needs.items() if count)
    has = "; ".join(", ".join(_counted(each.get(name, 0), name) for name in needs) for each in there)
    warnings.warn(
        f"a trial needs {wanted}, which no machine of the cluster has ({has}): trials wait until one joins it; change "
        "`threads` in a new folder, or `gpus_per_trial`",
        CamtrainWarning,
        stacklevel=3,
    )


def _counted(count: float, name: str) -> str:
    return f"{count:g} {name}" + "s" * (count != 1)


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
        raise ModuleNotFoundError("`executor`: ray needs `pip install 'camtrain[ray]'`") from error
