"""Wrong arguments of ablate, which are found before anything is written or run."""

from __future__ import annotations

import threading
import time
import warnings

import numpy as np
import pytest
import yaml

import camtrain
from camtrain.ablation import LocalExecutor, RayExecutor
from camtrain.ablation.ablate import chosen_executor, resolved_study, write_study
from camtrain.ablation.cores import jobs_with_room
from camtrain.ablation.outcome import Outcome
from camtrain.evaluation import EvaluationPlan
from camtrain.messages import CamtrainWarning
from camtrain.runs import RunSettings
from camtrain.study import Axis, Study, StudyPlan, Trial

CONFIG = {
    "model": {"network": {"class_path": "camtrain.networks.CIFARResNet", "init_args": {"depth": 8}}},
    "data": {"class_path": "camtrain.data.DecoyDigits"},
    "trainer": {"max_epochs": 1},
}
GRID = {"trainer.max_epochs": [1, 2]}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"grid": {}}, ValueError, "`grid`: expected at least one configuration key"),
        (
            {"grid": {"trainer.max_epochs": 1}},
            ValueError,
            "`grid`: expected several values of trainer.max_ep",
        ),
        (
            {"grid": {"model.network": "cifar"}},
            ValueError,
            "`grid`: expected several values of model.network",
        ),
        (
            {"grid": {"model.network": [LocalExecutor]}},
            ValueError,
            "`grid`: expected values of model.network",
        ),
        ({"grid": {"model.netwrok": ["a"]}}, ValueError, "`grid`: model.netwrok:"),
        ({"grid": {"trainer.max_epochs": ["x"]}}, ValueError, "`grid`: trainer.max_epochs:"),
        ({"seeds": 3}, ValueError, "`seeds`: expected several values, got 3"),
        ({"seeds": []}, ValueError, "`seeds`: expected each seed once, and at least one"),
        ({"seeds": [0, 0]}, ValueError, "`seeds`: expected each seed once"),
        ({"threads": 0}, ValueError, "`threads`: expected a positive integer, got 0"),
        ({"jobs": -2}, ValueError, "`jobs`: expected a positive integer, got -2"),
        ({"jobs": 2, "executor": LocalExecutor(2)}, ValueError, "`jobs`: expected none beside an executor"),
        ({"executor": LocalExecutor}, TypeError, r"`executor`: expected an executor, such as LocalExecutor\(\)"),
        ({"executor": "slurm"}, ValueError, '`executor`: expected "local", "ray" or an executor'),
        ({"wandb": "foo"}, ValueError, "`wandb`: expected offline, online or disabled, got 'foo'"),
        (
            {"num_validation_images": -1},
            ValueError,
            "`num_validation_images`: expected an integer of at least 0, got -1",
        ),
        (
            {"num_validation_images": 8, "evaluation": None},
            ValueError,
            "`num_validation_images`: expected none, since no maps are scored, got 8",
        ),
        (
            {"num_validation_images": 8, "evaluation": EvaluationPlan(split="val")},
            ValueError,
            "`num_validation_images`: expected none, since all scores are of validation images, got 8",
        ),
        ({"evaluation": "fast"}, TypeError, "`evaluation`: expected an EvaluationPlan or None, got 'fast'"),
        ({"config": "no.yaml"}, FileNotFoundError, "`config`: no such file: no.yaml"),
        ({"config": {**CONFIG, "nonsense": 1}}, ValueError, "`config`: .*nonsense"),
        (
            {"config": {**CONFIG, "model": {"network": object()}}},
            ValueError,
            "`config`: expected values that YAML",
        ),
    ],
)
def test_they_are_named(tmp_path, options, error, message):
    arguments = {"config": CONFIG, "grid": GRID, "folder": tmp_path / "study", "progress": False} | options
    with pytest.raises(error, match=message):
        camtrain.ablate(arguments.pop("config"), arguments.pop("grid"), **arguments)
    assert not (tmp_path / "study").exists()


def test_numbers_of_numpy_are_numbers(tmp_path):
    axes = [Axis("trainer.max_epochs", tuple(np.arange(1, 3)))]
    study = resolved_study(CONFIG, axes, tmp_path / "study", np.arange(2), None)
    write_study(study, CONFIG)
    assert [(trial.point["trainer.max_epochs"], trial.seed) for trial in study.trials] == [
        (1, 0),
        (1, 1),
        (2, 0),
        (2, 1),
    ]
    assert Study.opened(tmp_path / "study").plan == study.plan


def test_a_checkpoint_of_the_worst_epoch_is_refused(tmp_path):
    axes = [Axis("checkpoint.monitor", ("val/accuracy", "val/average_drop/grad_cam"))]
    told = "`grid`: at .*: `checkpoint.mode`: expected min for `checkpoint.monitor` val/average_drop/grad_cam"
    with pytest.raises(ValueError, match=told):
        resolved_study(CONFIG, axes, tmp_path, (0,))


def test_a_study_scores_controls_and_leakage_unless_told_otherwise(tmp_path):
    plan = resolved_study(CONFIG, [Axis("trainer.max_epochs", (1,))], tmp_path, (0,)).plan
    assert plan.evaluation.controls == ("shuffled",)
    assert {"map_leakage", "average_drop", "insertion_auc", "deletion_auc"} <= {*plan.evaluation.metrics}
    assert "map_leakage" in plan.validation.metrics
    assert plan.validation.split == "val"


def test_a_mapping_is_kept_beside_the_study(tmp_path):
    study = resolved_study(CONFIG, [Axis("trainer.max_epochs", (1,))], tmp_path / "mine", (0,), None)
    write_study(study, CONFIG)
    assert study.plan.config == str(tmp_path / "mine/mine.yaml")
    assert yaml.safe_load((tmp_path / "mine/mine.yaml").read_text()) == CONFIG


def planned_threads(tmp_path, jobs, **options):
    """The number of threads of a study that an executor with some jobs gets."""
    seen = []

    def executor(study, on_trial):
        seen.append(study.plan.threads)
        return []

    executor.jobs = jobs
    camtrain.ablate(CONFIG, GRID, folder=tmp_path, executor=executor, progress=False, **options)
    return seen[0]


@pytest.mark.parametrize(
    ("cores", "of_process", "jobs", "threads"),
    [(8, 8, 4, 2), (8, 8, None, 8), (16, 3, 2, 3)],
)
def test_threads_are_those_of_the_process_as_far_as_there_are_cores(
    tmp_path, monkeypatch, cores, of_process, jobs, threads
):
    monkeypatch.setattr("camtrain.ablation.cores.num_cores", lambda: cores)
    monkeypatch.setattr("torch.get_num_threads", lambda: of_process)
    assert planned_threads(tmp_path, jobs) == threads


def test_a_study_keeps_its_threads_and_fewer_jobs_run_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr("camtrain.ablation.cores.num_cores", lambda: 4)
    assert planned_threads(tmp_path, 1, threads=3) == 3
    assert planned_threads(tmp_path, 4) == 3, "its numbers depend on it"
    with pytest.warns(CamtrainWarning, match=r"`jobs`: 4 of 3 threads each are too many for 4 core\(s\), so it is 1"):
        assert jobs_with_room(4, 3) == 1
    with pytest.warns(CamtrainWarning, match=r"`threads`: 8 threads are too many for 4 core\(s\), and slow"):
        assert jobs_with_room(1, 8) == 1
    assert (jobs_with_room(4, 1), jobs_with_room(2, 2), jobs_with_room(1, 4)) == (4, 2, 1)


def test_no_more_processes_run_than_there_is_room_for(tmp_path, monkeypatch):
    monkeypatch.setattr("camtrain.ablation.cores.num_cores", lambda: 2)
    running, most, one_at_a_time = [], [], threading.Lock()

    def counted(study, trial, *_, **__):
        with one_at_a_time:
            running.append(trial.name)
            most.append(len(running))
        time.sleep(0.05)
        running.remove(trial.name)
        return Outcome(trial.name, "finished")

    monkeypatch.setattr("camtrain.ablation.local_executor.run_trial", counted)
    trials = [Trial({}, number, {"number": number}) for number in range(6)]
    for threads, expected in ((1, 2), (2, 1)):
        most.clear()
        study = Study(tmp_path, StudyPlan("study", "c.yaml", (), (0,), threads=threads), trials)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CamtrainWarning)
            assert len(LocalExecutor(4)(study, lambda outcome: None)) == 6
        assert max(most) == expected


@pytest.mark.parametrize(
    ("evaluated", "asked", "expected"),
    [(None, None, 128), (8, None, 8), (8, 100, 100), (8, 0, None)],
)
def test_some_validation_images_choose(tmp_path, evaluated, asked, expected):
    evaluation = EvaluationPlan(metrics="average_drop", num_images=evaluated, num_panel_maps=2, controls="shuffled")
    axes = [Axis("trainer.max_epochs", (1,))]
    plan = resolved_study(CONFIG, axes, tmp_path, (0,), evaluation, num_validation_images=asked).plan
    chosen_by = EvaluationPlan(metrics="average_drop", split="val", num_images=expected, num_panel_maps=0)
    assert plan.validation == (None if expected is None else chosen_by)
    assert plan.evaluation == evaluation


def test_executors_have_their_jobs():
    assert (chosen_executor("ray").jobs, chosen_executor("local").jobs) == (None, 1)
    with pytest.raises(ValueError, match="`gpus_per_trial`: expected a number of at least 0"):
        RayExecutor(gpus_per_trial=-1)


def test_results_are_written_also_where_telling_fails(tmp_path):
    def executor(study, on_trial):
        study.write_row(study.trials[0], {"test/accuracy": 0.5})
        raise RuntimeError("told too much")

    with pytest.raises(RuntimeError, match="told too much"):
        camtrain.ablate(CONFIG, GRID, folder=tmp_path / "a", evaluation=None, executor=executor, progress=False)
    assert len((tmp_path / "a/results.csv").read_text().splitlines()) == 2


def test_too_few_gpus_are_found_before_a_study_is_written(tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    message = "`jobs`: expected at most 1, for `trainer.devices` is 2 and there are 2 GPU"
    with pytest.raises(ValueError, match=message):
        camtrain.ablate(CONFIG, {"trainer.devices": [1, 2]}, folder=tmp_path / "study", evaluation=None, jobs=2)
    assert not (tmp_path / "study").exists()


def test_a_study_does_not_go_on_with_the_checkpoint_of_a_configuration(tmp_path):
    config = {**CONFIG, "ckpt_path": "runs/plain/version_0/checkpoints/last.ckpt"}
    with pytest.raises(
        ValueError, match=r"`ckpt_path`: a study starts every training .*; `model\.initial_weights` takes"
    ):
        resolved_study(config, [Axis("trainer.max_epochs", (1,))], tmp_path, (0,), None)


def test_a_checkpoint_may_be_named_by_a_score(tmp_path):
    """`/` is a part of what is measured, and of no folder."""
    config = {**CONFIG, "checkpoint": {"filename": "epoch_{epoch:03d}_{val/accuracy:.3f}"}}
    axes = [Axis("trainer.max_epochs", (1,))]
    assert resolved_study(config, axes, tmp_path, (0,), None).trials
    config["checkpoint"]["auto_insert_metric_name"] = True
    with pytest.raises(ValueError, match=r"`checkpoint\.filename`: expected a name without folders"):
        resolved_study(config, axes, tmp_path, (0,), None)


def test_the_home_folder_is_found_by_whoever_opens_the_study(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    write_study(resolved_study(CONFIG, [Axis("trainer.max_epochs", (1,))], "~/study", (0,), None), CONFIG)
    study = Study.opened("~/study")
    assert study.folder == tmp_path / "home" / "study"
    assert RunSettings(folder="~/runs").runs_of("a") == tmp_path / "home" / "runs" / "a"
    assert not (tmp_path / "~").exists()
