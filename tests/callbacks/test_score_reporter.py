"""The final table: on screen, on disk, in W&B."""

from __future__ import annotations

import json

import pytest
from pytorch_lightning import Callback
from pytorch_lightning.callbacks import ModelCheckpoint

from camtrain.callbacks import CAMLogger, LocalizationScores, ScoreReporter
from camtrain.callbacks.best_values import BestValues
from camtrain.callbacks.score_reporter import score_table


def test_table_by_hand():
    scores = {
        "val/accuracy": 0.91234,
        "test/accuracy": 1.0,
        "test/accuracy_top5": 0.5,
        "train/loss": 0.012344,
        "val/loss_regularizer": float("nan"),
        "val/localization_iou_25/grad_cam": 0.25,
        "val/localization_iou_25/layer_cam": 0.125,
        "val/accuracy_per_class/cat": 0.3,
        "val/learned": 3.0,
        "lr-SGD": 0.1,
    }
    assert score_table(scores).splitlines() == [
        "score                     train     val     test",
        "----------------------  -------  ------  -------",
        "accuracy                      –  91.2 %  100.0 %",
        "top-5 accuracy                –       –   50.0 %",
        "loss L                  0.01234       –        –",
        "regularizer L_R               –       –        –",
        "IoU at 25 %, grad_cam         –  25.0 %        –",
        "IoU at 25 %, layer_cam        –  12.5 %        –",
    ]


def test_no_scores_is_an_empty_table():
    assert score_table({}).split() == ["score", "-------"]


def test_reports_fit_and_adds_a_column_for_the_test(tiny_module, tiny_data, tiny_trainer, tmp_path, capsys):
    module, data, reporter = tiny_module(), tiny_data(), ScoreReporter()
    checkpoint = ModelCheckpoint(tmp_path / "run" / "checkpoints", filename="best", save_last=True)
    callbacks = [CAMLogger(num_images=1), LocalizationScores(), checkpoint, reporter]
    trainer = tiny_trainer(*callbacks, enable_checkpointing=True)
    trainer.fit(module, data)
    after_fit = capsys.readouterr().out
    fitted = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert {"train/loss", "val/accuracy", "val/localization_iou_25/grad_cam"} < set(fitted)
    assert json.loads((tmp_path / "run" / "scores.json").read_text()) == pytest.approx(fitted)
    assert score_table(fitted) in after_fit
    lines = [" ".join(line.split()) for line in after_fit.splitlines()]
    assert "score train val" in lines
    for line in (
        f"run {tmp_path / 'run'}",
        f"panels {tmp_path / 'run' / 'panels'}",
        f"checkpoint {tmp_path / 'run' / 'checkpoints' / 'best.ckpt'}",
        f"checkpoint {tmp_path / 'run' / 'checkpoints' / 'last.ckpt'}",
    ):
        assert line in lines

    trainer.test(module, data, verbose=False)
    tested = {name: float(value) for name, value in trainer.callback_metrics.items()}
    after_test = capsys.readouterr().out
    assert "score train val test" in [" ".join(line.split()) for line in after_test.splitlines()]
    assert json.loads((tmp_path / "run" / "scores.json").read_text()) == pytest.approx(fitted | tested)
    assert reporter.scores == pytest.approx(fitted | tested)


def test_the_last_checkpoint_is_named_after_a_test_of_an_earlier_one(
    tiny_module, tiny_data, tiny_trainer, tmp_path, capsys
):
    """The state of the callbacks is then that of the earlier epoch, which knew of no later checkpoint."""
    folder = tmp_path / "run" / "checkpoints"
    best = ModelCheckpoint(folder, "epoch_{epoch}", "val/accuracy", save_top_k=-1, auto_insert_metric_name=False)
    last = ModelCheckpoint(folder, filename="last", enable_version_counter=False, save_on_train_epoch_end=True)
    trainer = tiny_trainer(best, last, ScoreReporter(), enable_checkpointing=True, max_epochs=2)
    module, data = tiny_module(), tiny_data()
    trainer.fit(module, data)
    capsys.readouterr()
    trainer.test(module, data, ckpt_path=folder / "epoch_0.ckpt", verbose=False, weights_only=True)
    assert f"checkpoint  {folder / 'last.ckpt'}" in capsys.readouterr().out


def test_another_fit_makes_test_scores_stale(tiny_module, tiny_data, tiny_trainer):
    module, data, reporter = tiny_module(), tiny_data(), ScoreReporter()
    trainer = tiny_trainer(reporter)
    trainer.test(module, data)
    assert "test/accuracy" in reporter.scores
    trainer.fit(module, data)
    assert {name.split("/")[0] for name in reporter.scores} == {"train", "val"}


def test_a_training_that_goes_on_and_stops_leaves_no_test_scores(tiny_module, tiny_data, tiny_trainer, tmp_path):
    class Stopped(Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            raise RuntimeError("stopped")

    module, data, path = tiny_module(), tiny_data(), tmp_path / "run" / "scores.json"
    trainer = tiny_trainer(ScoreReporter())
    trainer.fit(module, data)
    trainer.test(module, data, verbose=False)
    scores = json.loads(path.read_text())
    path.write_text(json.dumps({**scores, "val/f1": None}))
    with pytest.raises(RuntimeError, match="stopped"):
        tiny_trainer(ScoreReporter(), Stopped(), logger=trainer.logger).fit(module, data)
    kept = json.loads(path.read_text())
    assert "test/accuracy" in scores
    assert kept == {name: value for name, value in scores.items() if not name.startswith("test/")} | {"val/f1": None}


def test_validate_reports_and_fit_reports_once(tiny_module, tiny_data, tiny_trainer, capsys):
    trainer = tiny_trainer(ScoreReporter(), max_epochs=3)
    trainer.fit(tiny_module(), tiny_data())
    assert capsys.readouterr().out.count("accuracy") == 1
    trainer.validate(tiny_module(), tiny_data(), verbose=False)
    assert capsys.readouterr().out.count("accuracy") == 1
    trainer.predict(tiny_module(), datamodule=tiny_data())
    assert capsys.readouterr().out == ""


def test_quiet_and_fast_dev_run(tiny_module, tiny_data, tiny_trainer, tmp_path, capsys):
    tiny_trainer(ScoreReporter(print_table=False)).test(tiny_module(), tiny_data(), verbose=False)
    assert capsys.readouterr().out == ""
    assert (tmp_path / "run" / "scores.json").is_file()
    trainer = tiny_trainer(ScoreReporter(), fast_dev_run=True)
    trainer.fit(tiny_module(), tiny_data())
    assert "loss L" in capsys.readouterr().out
    assert not (tmp_path / "root").exists()


def test_json_has_no_nan(tiny_module, tiny_data, tiny_trainer, tmp_path):
    module = tiny_module()
    module.on_test_epoch_end = lambda: module.log("test/broken", float("nan"))
    tiny_trainer(ScoreReporter(print_table=False)).test(module, tiny_data())
    scores = json.loads((tmp_path / "run" / "scores.json").read_text(), parse_constant=pytest.fail)
    assert scores["test/broken"] is None


def test_wandb_has_every_metric_against_epoch_the_summary_and_the_table(
    tiny_module, tiny_data, tiny_trainer, offline_run, capsys
):
    logger, finished_run = offline_run
    module, data, reporter = tiny_module(), tiny_data(), ScoreReporter()
    module.on_train_batch_end = lambda *_: logger.experiment.log({"train/extra": 1.0})  # brings no epoch of its own
    trainer = tiny_trainer(LocalizationScores(), reporter, logger=logger, log_every_n_steps=1, max_epochs=3)
    trainer.fit(module, data)
    trainer.test(module, data, verbose=False)
    out = capsys.readouterr().out
    folder, run = finished_run()
    assert f"W&B run     {folder}" in out

    rows = {}
    for row in run.history:
        for name in row:
            rows.setdefault(name, []).append(row)
    for name in (
        "train/loss",
        "val/loss",
        "val/accuracy",
        "val/energy_pointing_game/grad_cam",
        "val/flat_maps/grad_cam",
    ):
        assert [row["epoch"] for row in rows[name]] == [0, 1, 2]
    assert [row["epoch"] for row in rows["test/accuracy"]] == [3]
    # W&B fills in the axis of a metric that comes without: the definition is in force, and is not the global step.
    assert [row["epoch"] for row in rows["train/extra"][3:]] == [0, 0, 0, 1, 1, 1]
    assert all("trainer/global_step" not in row for row in rows["train/extra"])
    last = [metric for metric in run.metrics if metric.glob_name == "*"][-1]
    assert (last.step_metric, last._control.overwrite) == ("epoch", True)
    steps = [row["_step"] for row in run.history]
    assert steps == list(range(len(steps)))

    for name, value in reporter.scores.items():
        assert run.summary[name] == pytest.approx(value)
    assert {"val/accuracy", "test/localization_iou_25/grad_cam"} < set(reporter.scores)
    for name, better in (("val/accuracy", max), ("val/loss", min), ("val/energy_pointing_game/grad_cam", max)):
        values = [row[name] for row in rows[name]]
        assert run.summary[f"best/{name}"] == pytest.approx(better(values))
        assert run.summary[f"best_epoch/{name}"] == values.index(better(values))
    assert not any(name.startswith(("best/train", "best/test")) for name in run.summary)
    tables = [json.loads((folder / "files" / row["scores"]["path"]).read_text()) for row in rows["scores"]]
    assert [table["columns"] for table in tables] == [
        ["quantity", "train", "val"],
        ["quantity", "train", "val", "test"],
    ]
    accuracy = next(row for row in tables[1]["data"] if row[0] == "accuracy")
    assert accuracy[2:] == pytest.approx([reporter.scores["val/accuracy"], reporter.scores["test/accuracy"]])


def test_a_resumed_run_takes_rows_without_an_epoch(tmp_path):
    """Lightning's `LearningRateMonitor` logs a step alone."""
    table = tmp_path / "metrics.csv"
    table.write_text("epoch,step,lr-SGD,val/accuracy\n,0,0.1,\n0,7,,0.5\n1.0,15,,0.75\n,16,0.1,\n")
    best = BestValues()
    best.add_table(table)
    assert best.summary() == {"best/val/accuracy": 0.75, "best_epoch/val/accuracy": 1}
    table.write_text("step,lr-SGD\n0,0.1\n")
    BestValues().add_table(table)
