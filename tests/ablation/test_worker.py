"""What a worker does, with a stand-in for the training."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from camtrain.ablation import worker
from camtrain.ablation.ablate import resolved_study, write_study
from camtrain.ablation.validation_plan import validation_plan
from camtrain.ablation.worker import STOPPED, is_trained, main, score_trial, train_trial
from camtrain.evaluation import ConfidenceInterval, EvaluationPlan, NoImagesError, Score
from camtrain.runs import TrainingStoppedError
from camtrain.runs.training_parser import WrongArgumentsError
from camtrain.study import Axis, Study, StudyPlan, Trial


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
        torch.save({"callbacks": states, "global_step": 16, "epoch": 1}, folder / "checkpoints/last.ckpt")
        tested = "16,,0.7" if run.test else "15,,"
        (folder / "metrics.csv").write_text("step,val/accuracy,test/accuracy\n7,0.9,\n15,0.8,\n" + tested + "\n")
        return folder


@pytest.fixture
def study(tmp_path):
    trials = [Trial({"seed_like": number}, 0, {"number": number, "trainer": {"max_epochs": 2}}) for number in (1, 2)]
    plan = StudyPlan("study", "c.yaml", (), (0,), project="mine", tags=("a", "b"), wandb="offline")
    study = Study(tmp_path / "study", plan, trials)
    study.write()
    return study


def finish(study, trial, train, wandb=None):
    """What a worker does, in one process."""
    if not is_trained(study, trial):
        train_trial(study, trial, wandb, train)
    score_trial(study, trial)


def test_validation_is_that_of_the_scored_checkpoint(study):
    trial = study.trials[0]
    finish(study, trial, Trains())
    assert study.row(trial)["val/accuracy"] == 0.9, "of the best epoch, whose checkpoint is scored, not of the last one"
    assert study.row(trial)["test/accuracy"] == 0.7
    assert study.row(trial)["version/camtrain"]


def test_the_run_is_the_studys(study):
    trial, train = study.trials[0], Trains()
    finish(study, trial, train, "disabled")
    (run,) = train.calls
    assert (run.group, run.project, run.tags, run.wandb) == ("study", "mine", ["a", "b"], "disabled")
    assert Path(run.folder, run.name) == study.folder_of(trial)
    assert run.resume
    finish(study, study.trials[1], train)
    assert train.calls[1].wandb == "offline"


def test_a_test_can_be_asked_for_later(study):
    trial, train = study.trials[0], Trains()
    study.plan = replace(study.plan, test=False)
    finish(study, trial, train)
    assert "test/accuracy" not in study.row(trial)
    finish(study, trial, train)
    assert len(train.calls) == 1, "it is trained once"
    study.plan = replace(study.plan, test=True)
    finish(study, trial, train)
    assert study.row(trial)["test/accuracy"] == 0.7
    assert [run.test for run in train.calls] == [False, True]


def test_which_checkpoint_was_scored_is_kept(study):
    trial = study.trials[0]
    finish(study, trial, Trains())
    found = json.loads((study.folder_of(trial) / "fitted.json").read_text())
    assert {key: found[key] for key in found if key != "sha256"} == {
        "run": "version_0", "checkpoint": "epoch_000.ckpt", "test": True, "ended": "max_epochs"
    }  # fmt: skip
    last = study.folder_of(trial) / "version_0/checkpoints/last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] == 16


def test_a_checkpoint_that_is_gone_is_not_waited_for(study):
    """The trial would count as not trained, and be trained, tested and recorded again without an end."""
    trial, train = study.trials[0], Trains()

    def loses(config, run):
        folder = train(config, run)
        (folder / "checkpoints/epoch_000.ckpt").unlink()
        return folder

    with pytest.raises(ValueError, match=r"epoch_000\.ckpt is gone, .*; delete .*version_0 to train anew"):
        train_trial(study, trial, None, loses)


def test_scores_of_an_earlier_validation_are_left_out():
    """The maps are scored in every other epoch, and the checkpoint is of one in between."""
    rows = [
        {"step": "7", "val/accuracy": "0.8", "val/insertion_auc/grad_cam": "0.6", "train/loss": ""},
        {"step": "7", "val/accuracy": "", "val/insertion_auc/grad_cam": "", "train/loss": "2"},
        {"step": "15", "val/accuracy": "0.9", "val/insertion_auc/grad_cam": "", "train/loss": ""},
        {"step": "23", "val/accuracy": "0.7", "val/insertion_auc/grad_cam": "0.5", "train/loss": "1"},
    ]
    assert worker.last_values(rows, 16) == {"val/accuracy": 0.9, "train/loss": 1.0}


@pytest.mark.parametrize(
    ("error", "last", "status"),
    [
        (WrongArgumentsError("`--data.root`: no such folder:\n photos"), "`--data.root`: no such folder: photos", 2),
        (RuntimeError("CUDA out of memory.\nTried 2 GiB"), "RuntimeError: CUDA out of memory. Tried 2 GiB", 1),
        (OSError("no space left"), "no space left", 1),
    ],
)
def test_the_last_line_says_what_went_wrong(monkeypatch, capsys, error, last, status):
    """It is all that a study shows of a trial that failed; Python itself prints notes after the message."""

    def fails():
        error.add_note("The traceback is in a file")
        raise error

    monkeypatch.setattr(worker, "main", fails)
    assert worker._in_a_line() == status
    assert capsys.readouterr().err.splitlines()[-1] == last


def scored(study, trial, monkeypatch, *, without=(), are_same=False):
    """The row of a trial whose maps score 0.5 on test and 0.25 on validation images; splits may be without images."""
    asked = []

    def evaluate(network, data, *, folder, split, num_images, controls, **_):
        if split in without:
            raise NoImagesError(f"`split`: there are no {split} images")
        asked.append((folder.name.partition("_")[0], split, num_images, controls))
        value = ConfidenceInterval({"test": 0.5, "val": 0.25}[split], 0.0, 1.0)
        return [Score("grad_cam", "average_drop", value, 8, False)]

    for name, stand_in in (("evaluate", evaluate), ("load_network", lambda _: None), ("load_data", lambda *_: None)):
        monkeypatch.setattr(worker, name, stand_in)
    monkeypatch.setattr(worker, "validates_on_test_images", lambda _: are_same)
    evaluation = EvaluationPlan(metrics="average_drop", controls="shuffled")
    study.plan = replace(study.plan, evaluation=evaluation, validation=validation_plan(evaluation, 16))
    finish(study, trial, Trains())
    return study.row(trial), asked


def test_maps_are_scored_on_test_and_on_validation_images(study, monkeypatch):
    row, asked = scored(study, study.trials[0], monkeypatch)
    assert asked == [("evaluated", "test", None, ("shuffled",)), ("validated", "val", 16, ())]
    assert row["evaluated/average_drop/grad_cam"] == 0.5
    assert row["validated/average_drop/grad_cam"] == 0.25


def test_without_validation_images_a_trial_is_finished_all_the_same(study, monkeypatch, capsys):
    row, _ = scored(study, study.trials[0], monkeypatch, without=("val",))
    assert row["evaluated/average_drop/grad_cam"] == 0.5
    assert not any(column.startswith("validated/") for column in row)
    assert "there are no val images; so the best point" in capsys.readouterr().err
    with pytest.raises(NoImagesError):
        scored(study, study.trials[1], monkeypatch, without=("test",))


def test_test_images_are_no_validation_images(study, monkeypatch, capsys):
    row, asked = scored(study, study.trials[0], monkeypatch, are_same=True)
    assert [split for _, split, *_ in asked] == ["test"]
    assert not any(column.startswith("validated/") for column in row)
    assert "the validation images are the test images; so the best point" in capsys.readouterr().err


def test_a_training_that_was_stopped_finishes_nothing(study, monkeypatch, capsys):
    trial = study.trials[0]

    def stopped(*_arguments):
        raise TrainingStoppedError("the training was stopped before its end")

    monkeypatch.setattr(worker, "train_trial", stopped)
    study.hand_over(trial)
    assert main([str(study.folder), trial.name]) == STOPPED
    assert "stopped before its end" in capsys.readouterr().err
    assert study.row(trial) is None


def test_scores_are_made_in_a_fresh_process_by_the_first_of_several(study, monkeypatch):
    trial = study.trials[0]
    study.plan = replace(study.plan, evaluation=EvaluationPlan(metrics="average_drop"))
    started = []
    monkeypatch.setattr(worker, "_scored", lambda *_arguments: {})
    monkeypatch.setattr(worker, "train_trial", lambda study, trial, wandb: train_trial(study, trial, wandb, Trains()))

    def restart(words):
        started.append(words)
        raise SystemExit

    monkeypatch.setattr(worker, "restart", restart)
    study.hand_over(trial)
    monkeypatch.setattr(worker, "is_first_process", lambda: False)
    assert main([str(study.folder), trial.name, "disabled"]) == 0
    assert started == []
    assert not is_trained(study, trial)
    monkeypatch.setattr(worker, "is_first_process", lambda: True)
    with pytest.raises(SystemExit):
        main([str(study.folder), trial.name, "disabled"])
    (words,) = started
    assert words[1:] == ["-m", "camtrain.ablation.worker", str(study.folder), trial.name, "disabled"]
    assert study.row(trial) is None
    assert main(words[3:]) == 0, "as the fresh process"
    assert study.row(trial)["test/accuracy"] == 0.7


def test_a_worker_keeps_to_what_it_was_handed(study):
    """Another call on the folder plans other trials and other scores meanwhile."""
    trial = study.trials[0]
    study.hand_over(trial)
    other = StudyPlan("study", "c.yaml", (), (0,), EvaluationPlan(metrics="road"), test=False)
    Study(study.folder, other, [Trial({"seed_like": 3}, 0, {"number": 3})]).write()
    taken, same = Study.taken_over(study.folder, trial.name)
    assert taken.plan == study.plan
    assert same == trial
    assert taken.folder_of(same) == study.folder_of(trial)


@pytest.mark.parametrize("words", [[], ["folder"], ["a", "b", "c", "d"]])
def test_other_words_get_a_line_on_how_to_call_it(words, capsys):
    assert main(words) == 2
    assert capsys.readouterr().err.startswith("usage: python -m camtrain.ablation.worker FOLDER TRIAL")


def test_a_trial_that_nobody_handed_over_is_named(study):
    with pytest.raises(FileNotFoundError, match=r"plan\.json is not there: camtrain\.ablation\.run_trial writes it"):
        main([str(study.folder), "other"])


SMALL = """
model:
  network: {class_path: camtrain.networks.CIFARResNet, init_args: {depth: 8, width: 4, stem_stride: 2}}
data: {class_path: camtrain.data.DecoyDigits, init_args: {batch_size: 16}}
trainer: {max_epochs: 2000, limit_train_batches: 8, limit_val_batches: 1, accelerator: cpu}
cam_logger: {num_images: 0}
"""


@pytest.mark.slow  # a training that a signal stops is tested in tests/faults, and what a worker makes of it above
def test_a_signal_stops_a_training_with_a_status_that_says_so(tmp_path):
    """SIGTERM, as a cluster sends it before it takes a machine away."""
    (tmp_path / "small.yaml").write_text(SMALL)
    axes = [Axis("model.regularizer_weight", (0,))]
    study = resolved_study(tmp_path / "small.yaml", axes, tmp_path / "study", (0,), None, wandb="disabled")
    write_study(study, tmp_path / "small.yaml")
    (trial,) = study.trials
    study.hand_over(trial)
    words = [sys.executable, "-m", "camtrain.ablation.worker", str(study.folder), trial.name]
    root = str(Path(worker.__file__).parents[2])
    process = subprocess.Popen(
        words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": root}
    )
    end = time.monotonic() + 120
    while not list(study.folder_of(trial).glob("version_0/checkpoints/last.ckpt")):
        assert time.monotonic() < end, "no epoch ended"
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == STOPPED
    assert said.decode().strip().endswith("SIGTERM stopped the training before its end")
    assert not is_trained(study, trial)
