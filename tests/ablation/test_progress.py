"""What a terminal shows while a study runs: a bar, a line for each job, and lines above them that collide with none."""

from __future__ import annotations

import json
import os
import socket
import sys
import warnings

import pytest

from camtrain.ablation import run_trial
from camtrain.ablation.job_lines import job_line
from camtrain.ablation.outcome import Outcome
from camtrain.ablation.progress import Progress
from camtrain.ablation.running_trial import note_phase, noted_as_running, progress_file, progress_of
from camtrain.cli.console import say, warnings_as_lines
from camtrain.runs import TrainingProgress
from camtrain.study import Study, StudyPlan, Trial
from tests.terminal import Terminal


@pytest.fixture
def in_terminal(monkeypatch):
    """Makes stderr a terminal of 80 columns, and returns it; pytest has its own stderr in a fixture."""

    def make() -> Terminal:
        made = Terminal()
        monkeypatch.setattr(sys, "stderr", made)
        monkeypatch.setenv("COLUMNS", "80")
        return made

    return make


@pytest.fixture
def study(tmp_path):
    trials = [Trial({"model.regularizer_weight": weight}, 0, {"weight": weight}) for weight in (0, 0.1, 0.2, 0.3)]
    study = Study(tmp_path / "study", StudyPlan("study", "c.yaml", (), (0,)), trials)
    study.write()
    return study


def test_a_line_for_each_job(study, in_terminal):
    terminal = in_terminal()
    first, second, *_ = (study.folder_of(trial) for trial in study.trials)
    with Progress(study) as shown, noted_as_running(first), noted_as_running(second):
        TrainingProgress("training", 3, 10, 1.2345, 0.25, 83.4).write(progress_file(first))
        shown.refresh()
        bar, *jobs = terminal.screen()
        assert bar.startswith("study: 5 % of 4 runs |")
        assert "about " in bar
        assert jobs == [
            "  regularizer_weight=0,seed=0: epoch 3 of 10, loss 1.234, about 0:01:23 left",
            "  regularizer_weight=0.1,seed=0: starting",
        ]
        note_phase(first, "scoring maps")
        shown.refresh()
        assert terminal.screen()[1] == "  regularizer_weight=0,seed=0: scoring maps"
        shown.end(Outcome(study.trials[0].name, "failed", 3.0, first / "trial.log", "out of memory"))
        shown.refresh()
        above, log, bar, job = terminal.screen()
        assert above == "[1/4] regularizer_weight=0,seed=0: FAILED after 0:00:03: out of memory"
        assert log.startswith("    its log: ")
        assert bar.startswith("study: 25 % of 4 runs |")
        assert job == "  regularizer_weight=0.1,seed=0: starting"
    assert ", ," not in terminal.getvalue()
    assert not any("starting" in line for line in terminal.screen())


def test_nothing_is_printed_over_a_bar(study, in_terminal, monkeypatch):
    terminal = in_terminal()
    monkeypatch.setattr(warnings, "showwarning", lambda message, *_: print("of another package", file=sys.stderr))
    with Progress(study) as shown, noted_as_running(study.folder_of(study.trials[0])):
        shown.refresh()
        with warnings_as_lines("ablate", str):
            say("ablate", "two runs")
            warnings.showwarning("of another package", UserWarning, "a.py", 3)
        lines = terminal.screen()
    assert lines[0] == "camtrain ablate: two runs"
    assert lines[1] == "of another package"
    assert [line.partition(":")[0].strip() for line in lines[-2:]] == ["study", "regularizer_weight=0,seed=0"]


def test_without_a_terminal_there_are_lines_of_ends_alone(study, capsys):
    with Progress(study) as shown, noted_as_running(study.folder_of(study.trials[0])):
        shown.refresh()
        shown.end(Outcome(study.trials[0].name, "stopped"))
    assert capsys.readouterr().err == "[1/4] regularizer_weight=0,seed=0: stopped\n"


def test_a_line_fits_the_terminal():
    progress = TrainingProgress("training", 3, 10, 1.2345, 0.25, 83.4)
    for width in (64, 80, 120):
        line = job_line("model.network=cifar_resnet8,model.regularizer=MapFaithfulness,seed=12", progress, width)
        assert len(line) < width
        assert line.endswith("seed=12: epoch 3 of 10, loss 1.234, about 0:01:23 left")


def test_a_trial_is_running_only_while_its_process_is(study, monkeypatch):
    trial = study.trials[0]
    path = progress_file(study.folder_of(trial))
    code = f"import os, pathlib; print(os.environ['CAMTRAIN_PROGRESS_FILE'], pathlib.Path({str(path)!r}).read_text())"
    outcome = run_trial(study, trial, worker=[sys.executable, "-c", code])
    named, _, content = outcome.log.read_text().partition(" ")
    assert named == str(path)
    assert json.loads(content)["phase"] == "starting"
    assert not path.exists()
    note_phase(study.folder_of(trial), "scoring maps")  # by a worker that nobody watches
    assert not path.exists()
    TrainingProgress().write(path)
    assert progress_of(study.folder_of(trial)) == TrainingProgress()
    monkeypatch.setattr(os, "kill", _no_process)
    assert progress_of(study.folder_of(trial)) is None


def _no_process(pid, number):
    raise ProcessLookupError


@pytest.mark.parametrize(
    "content", ["", "[1]", "{}", '{"phase": 3}', '{"pid": 1, "host": "else", "phase": "a", "epoch": "x"}', "\0"]
)
def test_a_damaged_file_says_nothing(tmp_path, content):
    (tmp_path / "p.json").write_text(content)
    assert TrainingProgress.read(tmp_path / "p.json") is None


@pytest.mark.parametrize("content", [b"epoch\n\xff\n", b"epoch\n" + b"1" * 200_000])
def test_a_damaged_table_is_no_end_of_a_study(study, content):
    """The training that goes on makes it again."""
    trial = Trial({}, 0, {"trainer": {"max_epochs": 4}})
    table = study.folder_of(trial) / "version_0" / "metrics.csv"
    table.parent.mkdir(parents=True)
    table.write_bytes(content)
    study = Study(study.folder, study.plan, [trial])
    assert Progress(study, silent=True)._share(trial) == 0.0
    table.write_text("epoch,loss\n0,1\n2,1\n")
    assert Progress(study, silent=True)._share(trial) == pytest.approx(0.4)  # two of four epochs, and then the scores


@pytest.mark.parametrize("name", ["epochs", "done", "left"])
def test_numbers_out_of_range_say_nothing(tmp_path, name):
    path = tmp_path / "p.json"
    TrainingProgress("training", 1, 2, -0.5, 0.5, 1.0).write(path)
    assert TrainingProgress.read(path).loss == -0.5
    found = json.loads(path.read_text())
    assert found["host"] == socket.gethostname()
    for value in (-1, float("nan"), "x"):
        path.write_text(json.dumps({**found, name: value}))
        assert TrainingProgress.read(path) is None
