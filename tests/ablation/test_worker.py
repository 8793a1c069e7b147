"""What a worker does, with a stand-in for the training."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from camtrain.ablation import worker
from camtrain.ablation.worker import STOPPED, finish_trial, main
from camtrain.runs import TrainingStoppedError
from camtrain.study import Study, StudyPlan, Trial


class Trains:
    """Leaves a run as `camtrain.runs.fit` does: its best epoch was the first of two."""

    def __init__(self):
        self.calls = []

    def __call__(self, config, run):
        self.calls.append(run)
        folder = Path(run.folder, run.name, "version_0")
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
        best = folder / "checkpoints/epoch_000.ckpt"
        states = {"best": {"monitor": "val/accuracy", "best_model_path": str(best)}}
        torch.save({"callbacks": {}, "global_step": 8}, best)
        torch.save({"callbacks": states, "global_step": 16}, folder / "checkpoints/last.ckpt")
        tested = "16,,0.7" if run.test else "15,,"
        (folder / "metrics.csv").write_text("step,val/accuracy,test/accuracy\n7,0.9,\n15,0.8,\n" + tested + "\n")
        return folder


@pytest.fixture
def study(tmp_path):
    trials = [Trial({"seed_like": number}, 0, {"number": number}) for number in (1, 2)]
    plan = StudyPlan("study", "c.yaml", (), (0,), project="mine", tags=("a", "b"), wandb="offline")
    study = Study(tmp_path / "study", plan, trials)
    study.write()
    return study


def test_validation_is_that_of_the_scored_checkpoint(study):
    trial = study.trials[0]
    finish_trial(study, trial, train=Trains())
    assert study.row(trial)["val/accuracy"] == 0.9, "of the best epoch, whose checkpoint is scored, not of the last one"
    assert study.row(trial)["test/accuracy"] == 0.7
    assert study.row(trial)["version/camtrain"]


def test_the_run_is_the_studys(study):
    trial, train = study.trials[0], Trains()
    finish_trial(study, trial, "disabled", train)
    (run,) = train.calls
    assert (run.group, run.project, run.tags, run.wandb) == ("study", "mine", ["a", "b"], "disabled")
    assert Path(run.folder, run.name) == study.folder_of(trial)
    assert run.resume
    finish_trial(study, study.trials[1], train=train)
    assert train.calls[1].wandb == "offline"


def test_a_test_can_be_asked_for_later(study):
    trial, train = study.trials[0], Trains()
    study.plan = replace(study.plan, test=False)
    finish_trial(study, trial, train=train)
    assert "test/accuracy" not in study.row(trial)
    finish_trial(study, trial, train=train)
    assert len(train.calls) == 1, "it is trained once"
    study.plan = replace(study.plan, test=True)
    finish_trial(study, trial, train=train)
    assert study.row(trial)["test/accuracy"] == 0.7
    assert [run.test for run in train.calls] == [False, True]


def test_which_checkpoint_was_scored_is_kept(study):
    trial = study.trials[0]
    finish_trial(study, trial, train=Trains())
    found = json.loads((study.folder_of(trial) / "fitted.json").read_text())
    assert found == {"run": "version_0", "checkpoint": "epoch_000.ckpt", "test": True}
    last = study.folder_of(trial) / "version_0/checkpoints/last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] == 16


def test_a_training_that_was_stopped_finishes_nothing(study, monkeypatch, capsys):
    trial = study.trials[0]

    def stopped(*_arguments):
        raise TrainingStoppedError("the training was stopped before its end")

    monkeypatch.setattr(worker, "finish_trial", stopped)
    assert main([str(study.folder), trial.name]) == STOPPED
    assert "stopped before its end" in capsys.readouterr().err
    assert study.row(trial) is None


def test_a_trial_is_named_by_its_folder_too(study):
    with pytest.raises(KeyError, match=r"no trial of .* is called 'other'"):
        main([str(study.folder), "other"])
