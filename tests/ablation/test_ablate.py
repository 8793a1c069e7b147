"""A study survives what may happen to it, and comes to the same numbers wherever it runs."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import threading
import time
from functools import partial

import pytest
import wandb
import yaml
from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

from camtrain.ablation import run_trial
from camtrain.ablation.trial_lock import trial_lock
from camtrain.cli import main
from camtrain.cli.ablate import ablate_command
from camtrain.study import Study, StudyPlan, Trial
from tests.ablation.studies import WORDS, ablate, command, environment, results
from tests.offline_run import OfflineRun


@pytest.mark.slow  # two minutes; a single run that is killed and resumed is tested in tests/runs
def test_a_study_that_was_killed_ends_as_one_that_was_not(folder, study):
    """`kill -9` in the middle of a run, then the same words; one job here, two there."""
    process = subprocess.Popen(command(folder, "killed", *WORDS), cwd=folder, env=environment())
    trials = folder / "killed/trials"
    try:
        # A checkpoint of the second run is there, and that run is not over.
        _until(lambda: len(list(trials.glob("*/version_0/checkpoints/last.ckpt"))) == 2)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    unfinished = Study.opened(folder / "killed").trials[1]
    place = trials / unfinished.name
    assert not (place / "fitted.json").exists()
    assert (trials / Study.opened(folder / "killed").trials[0].name / "row.json").exists()
    _until(lambda: _is_free(place), seconds=10)  # its process is gone too

    again = ablate(folder, "killed", *WORDS)
    assert again.returncode == 0, again.stderr
    assert "[1/2] regularizer_weight=0,seed=1: was finished before" in again.stderr
    log = (place / "trial.log").read_text()
    assert "Restored all states from the checkpoint" in log
    assert [path.name for path in place.glob("version_*")] == ["version_0"]
    assert len(results(folder / "killed")) == 2
    assert results(folder / "killed") == results(study)
    metrics = [(each / "trials" / unfinished.name / "version_0/metrics.csv") for each in (folder / "killed", study)]
    assert len(metrics[0].read_text().splitlines()) == len(metrics[1].read_text().splitlines())


@pytest.mark.slow
def test_ctrl_c_ends_the_running_processes(folder):
    grid = ["--set", "model.regularizer_weight=0,0.1", "--wandb", "disabled", "--metrics", "none"]
    call = command(folder, "interrupted", *grid)
    # What runs in the background of a script ignores Ctrl-C, and so would all that it starts.
    handled = partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        call, cwd=folder, env=environment(), stderr=subprocess.PIPE, text=True, preexec_fn=handled
    )
    trials = folder / "interrupted/trials"
    _until(lambda: list(trials.glob("*/version_0/metrics.csv")))
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.endswith("camtrain ablate: stopped; the same command goes on from here\n")
    assert "FAILED" not in said
    assert all(_is_free(trials / trial.name) for trial in Study.opened(folder / "interrupted").trials)
    assert not list(trials.glob("*/row.json"))


def test_a_trial_that_another_call_runs_is_waited_for_and_can_be_given_up(tmp_path):
    trial = Trial({}, 0, {})
    study = Study(tmp_path, StudyPlan("study", "c.yaml", (), (0,)), [trial])
    stop = threading.Event()
    with trial_lock(study.folder_of(trial)):
        assert run_trial(study, trial, wait=False).status == "held"
        threading.Timer(0.2, stop.set).start()
        assert run_trial(study, trial, wait=True, stop=stop).status == "stopped"
        study.write_row(trial, {})
    assert run_trial(study, trial).status == "was finished"


def _until(is_so, seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.05)


def _is_free(place) -> bool:
    with trial_lock(place) as lock:
        return lock is not None


def test_a_row_has_everything(study):
    rows = results(study)
    assert [(row["model.regularizer_weight"], row["seed"]) for row in rows] == [("0", "1"), ("0.1", "1")]
    for row in rows:
        run = study / "trials" / row["trial"]
        scores = json.loads((run / "version_0/scores.json").read_text())
        for key in ("test/accuracy", "test/loss_classification", "test/loss_regularizer", "train/loss"):
            assert float(row[key]) == pytest.approx(scores[key], rel=1e-5)
        with (run / "version_0/metrics.csv").open(newline="") as file:
            validated = [float(each["val/accuracy"]) for each in csv.DictReader(file) if each["val/accuracy"]]
        assert float(row["val/accuracy"]) == pytest.approx(max(validated), rel=1e-5), "of the checkpoint that is scored"
        (evaluated,) = run.glob("evaluated_*")
        of_maps = json.loads((evaluated / "scores.json").read_text())["scores"]
        for method in ("grad_cam", "layer_cam"):
            for metric in ("average_drop", "insertion_auc", "energy_pointing_game"):
                assert float(row[f"evaluated/{metric}/{method}"]) == pytest.approx(
                    of_maps[method][metric]["score"], rel=1e-5
                )
        (validated,) = run.glob("validated_*")
        on_validation = json.loads((validated / "scores.json").read_text())
        assert on_validation["images"] == 6
        assert "val images of DecoyDigits" in on_validation["data"]
        drop = on_validation["scores"]["grad_cam"]["average_drop"]["score"]
        assert float(row["validated/average_drop/grad_cam"]) == pytest.approx(drop, rel=1e-5)
        assert row["version/camtrain"]
        assert row["hash"] in row["trial"] or row["trial"].endswith(row["hash"][:8])
    assert len({row["test/loss_classification"] for row in rows}) == 2


def test_it_prints_a_line_for_each_run_and_the_answer(folder, study):
    printed = (folder / "printed.txt").read_text()
    assert printed.count("/2] regularizer_weight=") == 2
    assert "All points: mean ± standard deviation over seeds" in printed
    assert f"wandb sync {study.name}/trials/*/*/wandb/*run-*" in printed
    assert "The point is chosen by validation images." in (study / "report.html").read_text()


def test_wandb_has_a_run_for_each_trial_in_one_group(study):
    for trial in Study.opened(study).trials:
        (place,) = (study / "trials" / trial.name).glob("version_0/wandb/offline-run-*")
        run = OfflineRun(place)
        assert run.config["model"]["regularizer_weight"] == trial.point["model.regularizer_weight"]
        assert run.config["seed_everything"] == trial.seed
        by_epoch = {row["epoch"]: row for row in run.history if "val/accuracy" in row}
        assert sorted(by_epoch) == [0, 1, 2]
        assert any("val/panels" in row for row in run.history)
        assert any(row.get("scores", {}).get("_type") == "table-file" for row in run.history)
        assert (run.group, run.tags) == ("whole", ["tiny"])
        assert run.name == f"{trial.name}/version_0"
    (place,) = study.glob("wandb/offline-run-*")
    summary = OfflineRun(place)
    assert (summary.group, summary.name) == ("whole", "whole/summary")
    (logged,) = [row["results"] for row in summary.history if "results" in row]
    table = json.loads((place / "files" / logged["path"]).read_text())
    assert [row[table["columns"].index("trial")] for row in table["data"]] == [row["trial"] for row in results(study)]
    assert wandb.run is None


def test_called_again_it_runs_nothing(folder, study, monkeypatch, capsys):
    before = {path: path.stat().st_mtime_ns for path in study.glob("trials/*/row.json")}
    monkeypatch.chdir(folder)
    assert not ablate_command(command(folder, "whole", *WORDS)[4:])
    assert capsys.readouterr().err.count("was finished before") == 2
    assert {path: path.stat().st_mtime_ns for path in study.glob("trials/*/row.json")} == before


def test_a_report_that_fails_is_said_and_loses_no_run(folder, study, monkeypatch, capsys):
    def no_report(*arguments):
        raise ValueError("`score`: the study has no 'localization_iou_25'")

    monkeypatch.chdir(folder)
    monkeypatch.setattr("camtrain.ablation.ablation.write_report", no_report)
    before = results(study)
    assert ablate_command(command(folder, "whole", *WORDS)[4:]) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said == (
        "camtrain ablate: no report: --score: the study has no 'localization_iou_25'; `camtrain report whole` makes "
        "it of the finished runs"
    )
    assert results(study) == before


@pytest.mark.slow
def test_on_ray_it_comes_to_the_same(folder, study):
    done = ablate(folder, "on_ray", *WORDS, "--executor", "ray", "--jobs", "2")
    assert done.returncode == 0, done.stderr
    assert results(folder / "on_ray") == results(study)


@pytest.mark.slow  # it trains one more trial
def test_the_sweep_is_the_same_grid(folder, study, monkeypatch, capsys):
    """W&B's own agent makes the words of each run, which runs that trial of the study alone."""
    done = ablate(folder, "swept", *WORDS, "--wandb-sweep")
    assert "wandb sweep --project camtrain swept/sweep.yaml" in done.stdout
    sweep = yaml.safe_load((folder / "swept/sweep.yaml").read_text())
    assert (sweep["method"], sweep["name"]) == ("grid", "swept")
    assert sweep["parameters"] == {"model.regularizer_weight": {"values": [0, 0.1]}, "seed": {"values": [1]}}
    values = {"model.regularizer_weight": 0.1, "seed": 1}
    args = {key: {"value": value} for key, value in values.items()}
    expanded = create_sweep_command_args({"args": args})["args_no_hyphens"]
    words = [word for each in sweep["command"] for word in (expanded if each == "${args_no_hyphens}" else [each])]
    assert words[0] == "camtrain"
    # As the agent on a machine where W&B is not to be asked.
    words = [word if word != "online" else "disabled" for word in words[1:]]
    opened = Study.opened(folder / "swept")
    monkeypatch.chdir(folder)
    main(words)
    assert capsys.readouterr().err.strip().endswith("finished")
    assert [row["trial"] for row in opened.rows()] == [opened.trials[1].name]
    (row,) = results(folder / "swept")
    assert {key: row[key] for key in row if key in results(study)[1]} == results(study)[1]
    # The sweep's own word holds, not that of the study.
    assert not list((folder / "swept").glob("trials/*/version_0/wandb"))


@pytest.mark.slow  # a trial that fails is tested without a process of its own in test_trial_run.py
def test_a_run_that_fails_stops_no_other(folder):
    """No layer of this name is found once the training begins."""
    grid = ["--set", "cam_logger.target_layer=nowhere,null", "--set", "trainer.max_epochs=1", "--wandb", "disabled"]
    done = ablate(folder, "failing", *grid, "--metrics", "none")
    assert done.returncode == 1
    assert "target_layer=nowhere,seed=0: FAILED" in done.stderr
    assert "no module is called 'nowhere'" in done.stderr
    assert "trial.log" in done.stderr
    assert "1 of 2 runs did not finish: target_layer=nowhere,seed=0-" in done.stderr
    (row,) = results(folder / "failing")
    assert row["cam_logger.target_layer"] == ""
    assert "No maps were scored" in done.stdout


def test_another_number_of_threads_is_refused(folder, study, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit) as ended:
        ablate_command([*command(folder, "whole", *WORDS)[4:], "--threads", "2"])
    assert ended.value.code == 2
    assert "--threads: the study in whole began with 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "model.regularizer_wait=0,1"], "regularizer_wait"),
        (["--set", "model.regularizer_weight=a,b"], "regularizer_weight"),
        (["--set", "model.regularizer_weight"], "--set: expected KEY=VALUE,VALUE,..."),
        (["--set", "a=1", "--set", "a=2"], "--set: expected each key once"),
        (["--set", "seed_everything=1,2"], "--set: seeds are given by --seeds"),
        (["--set", "trainer.max_epochs=1", "--seeds", "0,0"], "expected each seed once"),
        (["--set", "trainer.max_epochs=1", "--methods", "grad_kam"], "grad_kam"),
        (["--set", "trainer.max_epochs=1", "--metrics", "drop"], "--metrics: none is called 'drop'"),
        (
            ["--set", "trainer.max_epochs=1", "--score", "insertion"],
            "the study will have no 'insertion'; did you mean",
        ),
        (["--set", "trainer.max_epochs=1", "--score", "insertion_auc/layer_cam"], "--score: the study will have no"),
        (["--set", "trainer.max_epochs=1", "--margin", "-1"], "--margin: expected"),
        (["--set", "trainer.max_epochs=1", "--stages", "x"], "--num_stages: expected an integer"),
        (["--set", "trainer.max_epochs=1", "--num_stages", "0"], "--num_stages: expected a positive integer, got 0"),
        (["--set", "trainer.max_epochs=1", "--checkpoint", "other.ckpt"], "--checkpoint"),
        (
            ["--set", "trainer.max_epochs=1", "--metrics", "gradient", "--score", "guided_agreement/grad_cam"],
            "--score: the study will have no",
        ),
        (["--set", "run.test=false"], "--set: run.test changes nothing of what a run learns"),
        (["--set", "trainer.fast_dev_run=true"], "`trainer.fast_dev_run`: a study needs the checkpoints"),
        (["--set", "trainer.enable_checkpointing=false"], "`trainer.enable_checkpointing`: a study needs"),
        (["--set", "trainer.logger=false"], "`trainer.logger`: a study needs"),
        (["--set", "checkpoint.dirpath=elsewhere"], "`checkpoint.dirpath`: a study reads checkpoints in the folders"),
        (["--set", "checkpoint.filename=best/epoch"], "`checkpoint.filename`: expected a name without folders"),
        (
            ["--set", "ckpt_path=a.ckpt,b.ckpt"],
            "--set: a study starts every training from scratch, got ckpt_path; vary",
        ),
        (["--set", "trainer.max_epochs=1", "--config", "no.yaml"], "--config: no such file: no.yaml"),
    ],
)
def test_wrong_words_are_refused_before_anything_runs(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    call = command(tmp_path, "refused", *words)
    monkeypatch.setattr("sys.argv", ["camtrain"])
    with pytest.raises(SystemExit) as stop:
        main(call[3:])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "refused/trials").exists()
