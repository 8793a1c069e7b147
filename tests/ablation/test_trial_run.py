"""How a trial ends whose commands do not do what they should; stand-ins for `camtrain` are quick."""

from __future__ import annotations

import json
import sys

import pytest
import torch

from camtrain.ablation import run_locally, run_trial
from camtrain.ablation.ray_executor import _connect
from camtrain.study import Asked, Study, Trial

# Called with `fit` or `evaluate` and their options, as `camtrain` is.
FITS = """
import sys, torch
from pathlib import Path
words = sys.argv[1:]
option = dict(zip(words[1::2], words[2::2]))
print(*words)
if words[0] == "fit":
    run = Path(option["--run.folder"], option["--run.name"], "version_0")
    (run / "checkpoints").mkdir(parents=True, exist_ok=True)
    best = run / "checkpoints/epoch_000.ckpt"
    states = {"best": {"monitor": "val/accuracy", "best_model_path": str(best)}}
    torch.save({"callbacks": {}, "global_step": 8}, best)
    torch.save({"callbacks": states, "global_step": 16}, run / "checkpoints/last.ckpt")
    tested = "16,,0.7" if option["--run.test"] == "true" else "15,,"
    (run / "metrics.csv").write_text("step,val/accuracy,test/accuracy\\n7,0.9,\\n15,0.8,\\n" + tested + "\\n")
"""


@pytest.fixture
def study(tmp_path):
    trials = [Trial({"seed_like": number}, 0, {"number": number}) for number in (1, 2)]
    study = Study(tmp_path / "study", Asked("study", "c.yaml", (), (0,)), trials)
    study.write()
    return study


def stand_in(code):
    return [sys.executable, "-c", code]


def test_validation_is_that_of_the_scored_checkpoint(study):
    trial = study.trials[0]
    assert run_trial(study, trial, stand_in(FITS)).status == "finished"
    assert study.row(trial)["val/accuracy"] == 0.9, "of the best epoch, whose checkpoint is scored, not of the last one"
    assert study.row(trial)["test/accuracy"] == 0.7


def test_a_test_can_be_asked_for_later(study):
    trial = study.trials[0]
    study.asked = Asked("study", "c.yaml", (), (0,), test=False)
    run_trial(study, trial, stand_in(FITS))
    assert "test/accuracy" not in study.row(trial)
    study.asked = Asked("study", "c.yaml", (), (0,))
    assert run_trial(study, trial, stand_in(FITS)).status == "finished"
    assert study.row(trial)["test/accuracy"] == 0.7
    assert (study.folder_of(trial) / "fit.log").read_text().count("fit --config") == 2
    assert run_trial(study, trial, stand_in(FITS)).status == "was finished"


def test_no_checkpoint_is_a_failure_and_stops_no_other(study):
    told = []
    outcomes = run_locally(study, stand_in("print('done')"), 1, told.append)
    assert [outcome.status for outcome in outcomes] == ["failed", "failed"]
    assert told == outcomes
    assert outcomes[0].message == "`camtrain fit` ended without an error, and without a checkpoint"
    assert outcomes[0].log.read_text() == "done\n"


def test_whatever_else_goes_wrong_is_a_failure_of_that_trial_alone(study):
    first = study.trials[0]
    (study.folder_of(first) / "fitted.json").write_text("{")
    outcomes = run_locally(study, stand_in(FITS), 1, lambda outcome: None)
    assert [outcome.status for outcome in outcomes] == ["failed", "finished"]
    assert outcomes[0].message.startswith("JSONDecodeError: ")
    assert "Traceback" in outcomes[0].log.read_text()


def test_a_signal_is_named(study):
    killed = stand_in("import os; print('epoch 3', flush=True); os.kill(os.getpid(), 9)")
    message = run_trial(study, study.trials[0], killed).message
    assert message == "ended by SIGKILL (often for want of memory: try fewer --jobs); before: epoch 3"
    crashed = stand_in("import os; os.kill(os.getpid(), 11)")
    assert run_trial(study, study.trials[1], crashed).message == "ended by SIGSEGV; before: no output"


def test_the_last_line_of_the_log_is_the_message(study):
    failing = stand_in("import sys; print('first'); sys.exit('wrong')")
    assert run_trial(study, study.trials[0], failing).message == "wrong"


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


def test_which_checkpoint_was_scored_is_kept(study):
    trial = study.trials[0]
    run_trial(study, trial, stand_in(FITS))
    found = json.loads((study.folder_of(trial) / "fitted.json").read_text())
    assert found == {"run": "version_0", "checkpoint": "epoch_000.ckpt", "test": True}
    last = study.folder_of(trial) / "version_0/checkpoints/last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] == 16
