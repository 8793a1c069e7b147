"""Which GPUs trials see, on machines that are made up."""

from __future__ import annotations

import pytest
import torch

from camtrain.ablation import LocalExecutor
from camtrain.ablation.gpus import check_gpus, dealt_gpus
from camtrain.ablation.outcome import Outcome
from camtrain.study import Study, StudyPlan, Trial


@pytest.fixture
def gpus(monkeypatch):
    """Sets the number of GPUs."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return lambda count: monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


def trials_of(*devices):
    return [Trial({}, number, {"trainer": {"devices": each}}) for number, each in enumerate(devices)]


@pytest.fixture
def seen(monkeypatch, tmp_path):
    """What trials see of the GPUs that run in a number of jobs."""
    monkeypatch.setattr("camtrain.ablation.local_executor.jobs_with_room", lambda jobs, _threads: jobs)

    def run(jobs, trials):
        found = {}

        def look(study, trial, environment, **_options):
            found[trial.seed] = environment.get("CUDA_VISIBLE_DEVICES")
            return Outcome(trial.name, "finished")

        monkeypatch.setattr("camtrain.ablation.local_executor.run_trial", look)
        LocalExecutor(jobs)(Study(tmp_path, StudyPlan("study", "c.yaml", (), (0,)), trials), lambda _outcome: None)
        return [found[trial.seed] for trial in trials]

    return run


@pytest.mark.parametrize(
    ("devices", "jobs", "expected"),
    [
        (2, 2, [["0", "1"], ["2", "3"]]),
        ("2", 2, [["0", "1"], ["2", "3"]]),
        ([0, 1], 2, [["0", "1"], ["2", "3"]]),
        ("auto", 2, [["0"], ["1"]]),
        (-1, 2, [["0"], ["1"]]),
        ("-1", 2, [["0"], ["1"]]),
        (1, 6, [["0"], ["1"], ["2"], ["3"], ["0"], ["1"]]),
    ],
)
def test_several_jobs_have_gpus_of_their_own(gpus, devices, jobs, expected):
    gpus(4)
    trials = trials_of(devices)
    check_gpus(jobs, trials)
    assert dealt_gpus(jobs, trials) == expected


def test_those_that_are_visible_are_dealt_out(gpus, monkeypatch):
    gpus(4)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7,5,GPU-a,3")
    assert dealt_gpus(2, trials_of(2)) == [["7", "5"], ["GPU-a", "3"]]


@pytest.mark.parametrize("devices", ["auto", -1, 1, 4, [1, 3], "1,3"])
def test_one_job_sees_all(gpus, seen, devices):
    gpus(4)
    assert seen(1, trials_of(devices)) == [None]


def test_a_trial_sees_what_it_asks_for(gpus, seen):
    gpus(4)
    on_cpu = Trial({}, 2, {"trainer": {"devices": 8, "accelerator": "cpu"}})
    one, two, one_for_its_maps = seen(2, [*trials_of(1, 2), on_cpu])
    assert one in ("0", "2")
    assert two in ("0,1", "2,3")
    assert one_for_its_maps in ("0", "2")


def test_without_gpus_nothing_is_set(gpus, seen):
    gpus(0)
    assert seen(2, trials_of(2, [1, 3], "auto")) == [None, None, None]


@pytest.mark.parametrize(
    ("devices", "jobs", "said"),
    [
        (2, 3, "`jobs`: expected at most 2, for `trainer.devices` is 2 and there are 4 GPU.s., got 3; choose fewer"),
        (5, 1, "`trainer.devices`: expected some of 4 GPU.s., got 5"),
        ([2, 4], 1, r"`trainer.devices`: expected some of 4 GPU.s., got \[2, 4\]"),
        ("2,3", 2, "`trainer.devices`: expected a number for several jobs, got the indices '2,3', .*; pass 2"),
    ],
)
def test_too_few_are_refused_before_anything_runs(gpus, seen, devices, jobs, said):
    gpus(4)
    with pytest.raises(ValueError, match=said):
        seen(jobs, trials_of("auto", devices))
