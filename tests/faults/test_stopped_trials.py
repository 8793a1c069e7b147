"""A trial is finished only if its training reached its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
import torch

from camtrain.ablation import LocalExecutor, worker
from camtrain.ablation.ablate import run_study
from camtrain.ablation.fitted import record
from camtrain.ablation.look_over import look_over
from camtrain.ablation.worker import is_trained, score_trial, train_trial
from camtrain.cli.ablate import ablate_command
from camtrain.cli.sigterm import TerminatedError, sigterm_as_interrupt
from camtrain.evaluation import EvaluationPlan, OtherEvaluationError
from camtrain.files import write_whole
from camtrain.messages import CamtrainWarning
from camtrain.runs import TrainingStoppedError
from camtrain.study import Study, StudyPlan, Trial
from tests.ablation.studies import command, environment, results
from tests.ablation.test_worker import Trains, finish
from tests.ablation.test_worker import study as study

WORDS = ["--set", "model.regularizer_weight=0,0.1", "--metrics", "none", "--wandb", "disabled", "--threads", "1"]


def exits(status):
    return LocalExecutor(worker=(sys.executable, "-I", "-S", "-c", status))


STOPS = "import sys; print('half done'); sys.exit(143)"


@pytest.mark.parametrize("how", [STOPS, "import sys; sys.exit(130)", "import os; os.kill(os.getpid(), 15)"])
def test_a_trial_that_a_signal_stopped_did_not_finish(study, how):
    told = []
    with pytest.warns(CamtrainWarning, match="stopped: a signal stopped it before its end"):
        ablation = run_study(study, exits(how), told.append, progress=False)
    assert [each.status for each in ablation.unfinished] == ["stopped", "stopped"]
    assert [each.status for each in told] == ["stopped", "stopped"]
    assert (ablation.failed, ablation.rows) == ([], [])


def test_the_command_says_which_and_ends_with_another_status(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("camtrain.cli.ablate._executor", lambda settings: exits(STOPS))
    assert ablate_command(command(tmp_path, "study", *WORDS)[4:]) == 1
    said = capsys.readouterr().err
    names = [trial.name for trial in Study.opened(tmp_path / "study").trials]
    assert said.count("STOPPED after") == 2
    line = said.strip().splitlines()[-1]
    assert line == (
        f"camtrain ablate: 2 of 2 runs did not finish: {names[0]} (stopped), {names[1]} (stopped); the same command "
        "goes on with them"
    )


def test_sigterm_ends_the_command_as_ctrl_c_does(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def terminated(*_arguments, **_options):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)

    monkeypatch.setattr("camtrain.cli.ablate.run_study", terminated)
    usual = signal.getsignal(signal.SIGTERM)
    assert ablate_command(command(tmp_path, "study", *WORDS)[4:]) == 143
    assert capsys.readouterr().err.endswith("camtrain ablate: stopped; the same command goes on from here\n")
    assert signal.getsignal(signal.SIGTERM) is usual
    with pytest.raises(TerminatedError), sigterm_as_interrupt():
        terminated()


# ------------------------------------------------------------------------------------- what the worker records itself


class Returns(Trains):
    """Returns as if nothing were wrong, after one of two epochs."""

    def __call__(self, config, run):
        folder = super().__call__(config, run)
        path = folder / "checkpoints/last.ckpt"
        torch.save({**torch.load(path, weights_only=True), "epoch": 0, "global_step": 8}, path)
        (folder / "metrics.csv").write_text("step,val/accuracy\n7,0.9\n")
        return folder


def test_the_worker_looks_itself_whether_a_training_reached_its_end(study):
    trial = study.trials[0]
    with pytest.raises(TrainingStoppedError, match="stopped before its end"):
        train_trial(study, trial, None, Returns())
    assert not is_trained(study, trial)
    assert not (study.folder_of(trial) / "fitted.json").exists()
    train_trial(study, trial, None, Trains())
    assert is_trained(study, trial)


@pytest.mark.parametrize(
    ("trainer", "saved", "ended"),
    [
        ({"max_epochs": 2}, {"epoch": 1, "global_step": 16}, "max_epochs"),
        ({"max_epochs": 3}, {"epoch": 1, "global_step": 16}, None),
        ({"max_epochs": None, "max_steps": 16}, {"epoch": 1, "global_step": 16}, "max_steps"),
        ({"max_epochs": 9, "max_steps": 16}, {"epoch": 1, "global_step": 16}, "max_steps"),
        ({"max_epochs": None, "max_steps": -1}, {"epoch": 1, "global_step": 16}, None),
        ({"max_epochs": None, "max_steps": -1}, {"epoch": 999, "global_step": 16}, "max_epochs"),
        ({"max_epochs": 9, "callbacks": [{"class_path": "Mine"}]}, {"epoch": 1, "global_step": 16}, None),
        ({"max_epochs": 9, "max_time": "00:01:00:00"}, {"epoch": 1, "global_step": 16}, None),
        (
            {"max_epochs": 9},
            {"epoch": 1, "global_step": 16, "callbacks": {"EarlyStopping": {"stopped_epoch": 1, "patience": 2}}},
            "early_stop",
        ),
        (
            {"max_epochs": 9},
            {"epoch": 1, "global_step": 16, "callbacks": {"EarlyStopping": {"stopped_epoch": 0, "patience": 2}}},
            None,
        ),
        ({"max_epochs": -1}, {"epoch": 1, "global_step": 16}, None),
    ],
)
def test_the_end_of_a_training(tmp_path, trainer, saved, ended):
    trial = Trial({}, 0, {"trainer": trainer})
    study = Study(tmp_path, StudyPlan("study", "c.yaml", (), (0,)), [trial])
    run = study.folder_of(trial) / "version_0"
    (run / "checkpoints").mkdir(parents=True)
    torch.save({"callbacks": {}, **saved}, run / "checkpoints/last.ckpt")
    (run / "metrics.csv").touch()
    if ended is None:
        with pytest.raises(TrainingStoppedError):
            record(study, trial, run)
        # What the training itself recorded counts first: a callback of the user's may have ended it.
        write_whole(run / "training_end.json", json.dumps({"reason": "max_time", "epochs": 2, "steps": 16}))
    record(study, trial, run)
    assert json.loads((study.folder_of(trial) / "fitted.json").read_text())["ended"] == (ended or "max_time")


# ---------------------------------------------------------------------------- what an earlier version took for finished


def as_it_was(study, trial, train):
    """A run that was entered whatever had become of it, without checksums."""
    folder = study.folder_of(trial)
    run = train(
        folder / "config.yaml", type("Run", (), {"folder": str(folder.parent), "name": folder.name, "test": True})
    )
    (folder / "fitted.json").write_text(json.dumps({"run": run.name, "checkpoint": "epoch_000.ckpt", "test": True}))
    row = {"trial": trial.name, "hash": trial.hash, "seed": 0, **trial.point, "val/accuracy": 0.9}
    entry = {"hash": trial.hash, "evaluation": None, "test": True, "keys": list(trial.point), "row": row}
    (folder / "row.json").write_text(json.dumps(entry))


def test_a_half_trained_run_is_recognized_and_taken_up(study):
    first, second = study.trials
    as_it_was(study, first, Returns())
    finish(study, second, Trains())
    assert [row["trial"] for row in study.rows()] == [second.name]
    with pytest.warns(
        CamtrainWarning, match=f"^{first.name}: no scores of a test, so the training may have been stopped"
    ):
        look_over(study)
    train = Trains()
    finish(study, first, train)
    (run,) = train.calls
    assert run.resume
    assert study.row(first)["test/accuracy"] == 0.7
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        look_over(study)
    assert [row["trial"] for row in study.rows()] == [first.name, second.name]


def test_a_run_without_test_images_is_not_trained_again(study):
    """It has no scores of a test either, and its last checkpoint says that it reached its end."""

    class Untested(Trains):
        def __call__(self, config, run):
            folder = super().__call__(config, run)
            (folder / "metrics.csv").write_text("step,val/accuracy\n7,0.9\n15,0.8\n")
            return folder

    trial, train = study.trials[0], Untested()
    as_it_was(study, trial, train)
    assert study.row(trial) is None
    assert is_trained(study, trial)
    finish(study, trial, train)
    assert len(train.calls) == 1
    assert study.row(trial)["val/accuracy"] == 0.9


def test_scores_of_the_half_trained_network_are_forgotten(study, monkeypatch, capsys):
    """They are in the folder of the same evaluation, which belongs to other weights."""
    calls = []

    def evaluate(network, data, *, folder, fresh=False, **plan):
        calls.append(fresh)
        if not fresh:
            raise OtherEvaluationError("evaluated_1 holds an evaluation with weights A, and this one has B")
        return []

    monkeypatch.setattr(worker, "evaluate", evaluate)
    monkeypatch.setattr(worker, "load_network", lambda checkpoint: None)
    monkeypatch.setattr(worker, "load_data", lambda checkpoint, network: None)
    study.plan = StudyPlan("study", "c.yaml", (), (0,), EvaluationPlan(metrics="average_drop"), wandb="offline")
    trial = study.trials[0]
    train_trial(study, trial, None, Trains())
    score_trial(study, trial)
    assert calls == [False, True]
    assert "with weights A, and this one has B; the maps are scored from the beginning" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["cut", "words", "gone"])
def test_a_damaged_table_of_a_run_is_made_again(study, damage):
    """By the training, which finds nothing left to train."""
    trial, train = study.trials[0], Trains()
    train_trial(study, trial, None, train)
    table = study.folder_of(trial) / "version_0/metrics.csv"
    content = table.read_text()
    if damage == "gone":
        table.unlink()
    else:
        table.write_text({"cut": content[:2], "words": content.replace("0.9", "a lot")}[damage] + "\n1,2,3,4,5\n")
        with pytest.raises(
            ValueError, match=r"metrics\.csv is damaged: .* as metrics\.csv\.damaged; the same call makes it"
        ):
            score_trial(study, trial)
    assert not is_trained(study, trial)
    finish(study, trial, train)
    assert len(train.calls) == 2
    assert study.row(trial)["test/accuracy"] == 0.7


@pytest.mark.slow  # a minute
def test_a_preempted_trial_goes_on_to_the_row_of_one_that_was_not(tmp_path):
    words = [*WORDS[:1], "model.regularizer_weight=0.1", *WORDS[2:]]

    def start(out):
        call = command(tmp_path, out, *words)
        return subprocess.Popen(call, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True)

    process = start("preempted")
    end = time.monotonic() + 240
    while not list((tmp_path / "preempted").glob("trials/*/version_0/checkpoints/last.ckpt")):
        assert time.monotonic() < end
        time.sleep(0.02)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    (supervisor,) = [int(word) for word in _children_of_threads(children)]
    os.kill(supervisor, signal.SIGTERM)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 1, said
    assert "1 of 1 runs did not finish" in said
    assert not list((tmp_path / "preempted").glob("trials/*/row.json"))
    again, whole = start("preempted"), None
    assert again.wait(240) == 0
    again.communicate()
    whole = start("whole")
    whole.communicate(timeout=240)
    assert results(tmp_path / "preempted") == results(tmp_path / "whole")


def _children_of_threads(path):
    """Those of all threads of a process: a trial is started by a thread of its own."""
    return [word for each in path.parents[1].glob("*/children") for word in each.read_text().split()]
