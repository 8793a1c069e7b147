"""Wrong words of `camtrain ablate` and `camtrain report`, which are refused before anything is written."""

from __future__ import annotations

import math

import pytest
import torch

from camtrain.ablation import RayExecutor
from camtrain.cli import main
from camtrain.evaluation import EvaluationSettings
from camtrain.runs.made_trainer import check_trainer
from camtrain.study import Axis, Study
from tests.ablation.studies import command
from tests.report.studies import made_up, simple

ONE = ["--set", "model.regularizer_weight=0,0.1"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "model.regularizer_weight=0,-1"], "--set: at model.regularizer_weight=-1: "),
        (["--set", "model.regularizer_weight=0,-1", "--wandb-sweep"], "--set: at model.regularizer_weight=-1: "),
        (
            ["--set", "model.regularizer_weight=0,''"],
            "--set: expected values of model.regularizer_weight, got an empty one",
        ),
        (
            ["--set", "model.regularizer_weight=0,.nan"],
            "--set: expected finite values of model.regularizer_weight, got nan",
        ),
        (
            ["--set", "model.regularizer_weight=0,1e400"],
            "--set: expected finite values of model.regularizer_weight, got inf",
        ),
        (["--set", "model.optimizer.init_args.lr=0.1,-1"], "--set: at model.optimizer.init_args.lr=-1: "),
        (["--set", "model.label_smoothing=0,2"], "--set: at model.label_smoothing=2: "),
        (["--set", "data.init_args.batch_size=16,-1"], "--set: at data.init_args.batch_size=-1: "),
        (["--set", "trainer.limit_train_batches=8,-1"], "--set: at trainer.limit_train_batches=-1: "),
        (["--set", "trainer.gradient_clip_val=1,-1"], "--set: at trainer.gradient_clip_val=-1: "),
        (["--set", "cam_logger.num_images=1,-1"], "--set: at cam_logger.num_images=-1: "),
        ([*ONE, "--seeds=-1"], "--seeds: expected integers from 0 to 4294967295, got -1"),
        ([*ONE, "--seeds=0,4294967296"], "--seeds: expected integers from 0 to 4294967295, got 4294967296"),
        ([*ONE, "--seeds=0.5"], "--seeds: expected integers separated by commas, got '0.5'"),
        ([*ONE, "--gpus-per-trial=-1"], "--gpus_per_trial: expected a number of at least 0, got -1"),
        ([*ONE, "--gpus-per-trial=.inf"], "--gpus_per_trial: expected a number of at least 0, got inf"),
        ([*ONE, "--gpus-per-trial=.nan"], "--gpus_per_trial: expected a number of at least 0, got nan"),
        ([*ONE, "--gpus-per-trial=1"], "--gpus_per_trial: expected none with --executor local"),
        ([*ONE, "--tolerance=.inf"], "--tolerance: expected a finite number of pixels of at least 0, got inf"),
        ([*ONE, "--margin=.inf"], "--margin: expected points of percent in [0, 100), got inf"),
        ([*ONE, "--margin=.nan"], "--margin: expected points of percent in [0, 100), got nan"),
        ([*ONE, "--point", "model.regularizer_weight=7", "seed=0"], "--point: expected a value of the grid"),
        ([*ONE, "--point", "seed"], "--point: expected KEY=VALUE, got 'seed'"),
        ([*ONE, "--point", "model="], "--point: expected KEY=VALUE, got 'model='"),
        ([*ONE, "--point", "model=[0"], "--point: expected KEY=VALUE"),
        ([*ONE, "--score="], "--score: expected a value, got an empty word"),
        ([*ONE, "--out", ""], "--out: expected a value, got an empty word"),
        ([*ONE, "--out", "tiny.yaml"], "error: --out: expected a folder, got the file tiny.yaml"),
        ([*ONE, "--out", "tiny.yaml/study"], "error: --out: expected a folder, got the file tiny.yaml, of which"),
        ([*ONE, "--target_layer", "layer1..0.conv1"], "--target_layer: no module is called 'layer1..0.conv1'; did you"),
        (
            ["--set", "trainer.accelerator=gpu", "--set", "trainer.devices=1,2", "--jobs", "3"],
            "error: --jobs: expected at most 2, for `trainer.devices` is 2 and there are 4 GPU(s), got 3; choose",
        ),
        (["--set", "model.regulariser=MapL1"], "error: --set: model.regulariser: no such option; did you mean '--mod"),
    ],
)
def test_nothing_is_written(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    call = command(tmp_path, "refused", *words)
    with pytest.raises(SystemExit) as stop:
        main(call[3:])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said
    assert len(said.splitlines()) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_epochs", -7),
        ("max_steps", -2),
        ("limit_val_batches", -0.5),
        ("accumulate_grad_batches", -1),
        ("log_every_n_steps", -1),
        ("gradient_clip_val", -1),
        ("gradient_clip_val", math.inf),
        ("gradient_clip_val", math.nan),
    ],
)
def test_numbers_of_a_trainer(name, value):
    with pytest.raises(ValueError, match=name):
        check_trainer({name: value, "accelerator": "gpu", "devices": 99})


@pytest.mark.parametrize("margin", ["inf", ".nan", "nan", "-1", "100", "1e400", "x"])
@pytest.mark.parametrize("name", ["margin", "leakage_margin"])
def test_a_margin_of_a_report(tmp_path, name, margin, capsys):
    study = made_up(tmp_path, [simple(0, 0, 0.5, 0.5, 0.5)])
    with pytest.raises(SystemExit) as stop:
        main(["report", str(study.folder), f"--{name}={margin}"])
    assert stop.value.code == 2
    assert f"--{name}: expected" in capsys.readouterr().err
    assert not (study.folder / "report.html").exists()


@pytest.mark.parametrize("tolerance", [-1.0, math.inf, -math.inf, math.nan])
def test_a_tolerance(tolerance):
    with pytest.raises(ValueError, match="`tolerance`: expected a finite number"):
        EvaluationSettings(tolerance=tolerance)


@pytest.mark.parametrize("gpus", [-0.5, math.inf, math.nan])
def test_a_number_of_gpus(gpus):
    with pytest.raises(ValueError, match="`gpus_per_trial`: expected a number of at least 0"):
        RayExecutor(gpus)


@pytest.mark.parametrize("values", [("", 1), (" ",), (math.nan,), (1, -math.inf)])
def test_values_of_an_axis(values):
    with pytest.raises(ValueError, match="`grid`: expected"):
        Axis("key", values)


def test_what_was_planned_is_left_where_the_words_are_wrong(tmp_path, monkeypatch):
    """Of a study that is there, nothing changes."""
    monkeypatch.chdir(tmp_path)
    study = made_up(tmp_path / "refused", [simple(weight, 0, 0.5, 0.5, 0.5) for weight in (0, 0.1)])
    before = {path: path.read_bytes() for path in study.folder.rglob("*") if path.is_file()}
    with pytest.raises(SystemExit):
        main(command(tmp_path, "refused", "--set", "model.regularizer_weight=0,-1", "--threads", "1")[3:])
    assert {path: path.read_bytes() for path in study.folder.rglob("*") if path.is_file()} == before
    assert len(Study.opened(study.folder).rows()) == 2
