"""How a trial ends whose worker does not do what it should; stand-ins for workers are quick."""

from __future__ import annotations

import errno
import re
import sys
import warnings

import pytest

from camtrain.ablation import LocalExecutor, run_trial
from camtrain.ablation.ray_executor import _connect, _warn_of_needs
from camtrain.study import Study, StudyPlan, Trial

FINISHES = """
import sys
from pathlib import Path
from camtrain.study import Study
folder, name, *mode = sys.argv[1:]
study, trial = Study.taken_over(Path(folder), name)
print(name, *mode)
study.write_row(trial, {"test/accuracy": 0.7})
"""


@pytest.fixture
def study(tmp_path):
    trials = [Trial({"seed_like": number}, 0, {"number": number}) for number in (1, 2)]
    study = Study(tmp_path / "study", StudyPlan("study", "c.yaml", (), (0,)), trials)
    study.write()
    return study


def stand_in(code):
    return [sys.executable, "-c", code]


def test_a_worker_finishes_its_trial(study):
    trial = study.trials[0]
    assert run_trial(study, trial, worker=stand_in(FINISHES), wandb="disabled").status == "finished"
    assert study.row(trial)["test/accuracy"] == 0.7
    log = study.folder_of(trial) / "trial.log"
    assert log.read_text() == f"{trial.name} disabled\n"
    assert run_trial(study, trial, worker=stand_in(FINISHES)).status == "was finished"
    assert study.row(study.trials[1]) is None


def test_no_result_is_a_failure_and_stops_no_other(study):
    told = []
    outcomes = LocalExecutor(worker=stand_in("print('done')"))(study, told.append)
    assert [outcome.status for outcome in outcomes] == ["failed", "failed"]
    assert told == outcomes
    assert outcomes[0].message == "the worker ended without an error, and no result"
    assert outcomes[0].log.read_text() == "done\n"


def test_whatever_else_goes_wrong_is_a_failure_of_that_trial_alone(study, monkeypatch):
    first, hand_over = study.trials[0], study.hand_over

    def wrong(trial):
        if trial == first:
            raise RuntimeError("no")
        hand_over(trial)

    monkeypatch.setattr(study, "hand_over", wrong)
    outcomes = LocalExecutor(worker=stand_in(""))(study, lambda outcome: None)
    assert [(outcome.status, outcome.message) for outcome in outcomes] == [
        ("failed", "RuntimeError: no"), ("failed", "the worker ended without an error, and no result")
    ]  # fmt: skip
    assert "Traceback" in outcomes[0].log.read_text()


def test_a_signal_is_named(study):
    killed = stand_in("import os; print('epoch 3', flush=True); os.kill(os.getpid(), 9)")
    message = run_trial(study, study.trials[0], worker=killed).message
    assert message == "ended by SIGKILL (often for want of memory: try fewer jobs); before: epoch 3"
    crashed = stand_in("import os; os.kill(os.getpid(), 11)")
    assert run_trial(study, study.trials[1], worker=crashed).message == "ended by SIGSEGV; before: no output"


def test_the_last_line_of_the_log_is_the_message(study):
    failing = stand_in("import sys; print('first'); sys.exit('wrong')")
    assert run_trial(study, study.trials[0], worker=failing).message == "wrong"


def test_a_worker_finds_what_this_process_can_import(study, tmp_path, monkeypatch):
    (tmp_path / "my_own_module.py").write_text("answer = 42")
    monkeypatch.syspath_prepend(tmp_path)
    imports = stand_in("import my_own_module, sys; sys.exit(f'found {my_own_module.answer}')")
    assert run_trial(study, study.trials[0], worker=imports).message == "found 42"


class _Ray:
    """As `ray.init` is where a cluster runs already, or does not."""

    def __init__(self, runs):
        self.runs, self.calls = runs, []

    def init(self, **options):
        self.calls.append(options)
        if self.runs and "num_cpus" in options:
            raise ValueError("When connecting to an existing cluster, num_cpus and num_gpus must not be provided.")


@pytest.mark.parametrize(("runs", "cores", "asked"), [(False, 2, [2]), (True, 2, [2, None]), (True, None, [None])])
def test_a_ray_cluster_that_runs_has_its_own_size(runs, cores, asked):
    ray = _Ray(runs)
    _connect(ray, cores)
    assert [call.get("num_cpus") for call in ray.calls] == asked


class _Cluster:
    """As `ray.nodes` tells of a cluster of two machines, of which one is lost."""

    def nodes(self):
        return [
            {"Alive": True, "Resources": {"CPU": 16.0, "memory": 1e9}},
            {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}},
        ]


@pytest.mark.parametrize(
    ("needs", "said"),
    [
        ({"CPU": 16, "GPU": 0.0}, ""),
        (
            {"CPU": 2, "GPU": 0.5},
            r"needs 2 CPUs and 0\.5 GPUs, which no machine of the cluster has \(16 CPUs, 0 GPUs\)",
        ),
        ({"CPU": 64, "GPU": 0.0}, r"needs 64 CPUs, which no machine of the cluster has"),
    ],
)
def test_what_trials_would_wait_for_in_silence_is_said(needs, said):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        _warn_of_needs(_Cluster(), needs)
    assert len(found) == bool(said)
    assert all(re.search(said, str(each.message)) for each in found)


def test_a_file_system_without_locks_is_named(study, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    outcome = run_trial(study, study.trials[0])
    assert outcome.status == "failed"
    assert re.search(
        r"there are no locks in .* \(No locks available\), .*; choose a folder on another", outcome.message
    )
