"""Studies that were written when an evaluation was kept as words of the command line."""

from __future__ import annotations

import hashlib
import json

import pytest
import yaml

from camtrain.evaluation import EvaluationPlan, EvaluationSettings
from camtrain.report import Rule, write_report
from camtrain.study import Axis, Study, StudyPlan, Trial
from camtrain.study.evaluation_words import plan_of_words, split_of_words

WEIGHT = "model.regularizer_weight"
WORDS = ["--methods", "grad_cam", "--metrics", "average_drop,insertion_auc", "--split", "val", "--limit", "8",
         "--panels", "0", "--gallery", "2", "--steps", "4"]  # fmt: skip
PLAN = EvaluationPlan(
    "grad_cam",
    "average_drop,insertion_auc",
    "val",
    8,
    EvaluationSettings(num_steps=4),
    num_panel_maps=0,
    num_gallery_images=2,
)


@pytest.fixture
def folder(tmp_path):
    """As version 0.1 wrote it."""
    asked = {
        "name": "study",
        "config": "c.yaml",
        "axes": [{"key": WEIGHT, "values": [0, 0.1]}],
        "seeds": [0],
        "evaluation": WORDS,
        "wandb": "disabled",
        "project": "camtrain",
        "threads": 2,
        "tags": ["a"],
        "test": True,
        "command": ["camtrain", "ablate", "--split", "val"],
    }
    trials = []
    for weight in (0, 0.1):
        trial = Trial({WEIGHT: weight}, 0, {"model": {"regularizer_weight": weight}})
        place = tmp_path / "trials" / trial.name
        evaluated = place / f"evaluated_{hashlib.sha256(json.dumps(WORDS).encode()).hexdigest()[:8]}"
        evaluated.mkdir(parents=True)
        (evaluated / "curves.csv").write_text("method,way,share_of_pixels,probability\ngrad_cam,insertion,0,0.1\n")
        (place / "config.yaml").write_text(yaml.safe_dump(trial.config))
        scores = {"test/accuracy": 0.9, "val/accuracy": 0.9, "evaluated/average_drop/grad_cam": 0.5 - weight}
        row = {"trial": trial.name, "hash": trial.hash, "seed": 0, WEIGHT: weight, **scores}
        entry = {"hash": trial.hash, "evaluation": WORDS, "test": True, "keys": [WEIGHT], "row": row}
        (place / "row.json").write_text(json.dumps(entry))
        trials.append({"name": trial.name, "hash": trial.hash, "seed": 0, "point": dict(trial.point)})
    (tmp_path / "study.json").write_text(json.dumps({"asked": asked, "trials": trials}))
    return tmp_path


def test_it_is_read_as_a_plan(folder):
    axes = (Axis(WEIGHT, (0, 0.1)),)
    command = ("camtrain", "ablate", "--split", "val")
    expected = StudyPlan(
        "study", "c.yaml", axes, (0,), PLAN, "val", "disabled", threads=2, tags=("a",), command=command
    )
    assert Study.plan_in(folder) == expected


def test_its_rows_and_evaluations_are_found_and_stay_found_once_it_is_written_anew(folder):
    study = Study.opened(folder)
    study.write()
    assert "plan" in json.loads((folder / "study.json").read_text())
    for found in (study, Study.opened(folder)):
        assert [row["evaluated/average_drop/grad_cam"] for row in found.rows()] == [0.5, 0.4]
        assert all((found.evaluation_of(trial) / "curves.csv").is_file() for trial in found.trials)


@pytest.mark.parametrize("change", [{"test": False}, {"keys": None}])
def test_what_is_scored_again_gets_a_folder_of_its_own(folder, change):
    """The old folder holds parts of an evaluation that cannot be gone on with."""
    study = Study.opened(folder)
    first = study.trials[0]
    path = study.folder_of(first) / "row.json"
    entry = {key: value for key, value in (json.loads(path.read_text()) | change).items() if value is not None}
    path.write_text(json.dumps(entry))
    assert study.row(first) is None
    assert not study.evaluation_of(first).exists()
    assert study.evaluation_of(study.trials[1]).is_dir()


def test_it_has_a_report(folder):
    report = write_report(Study.opened(folder), Rule())
    assert "gains +10.00 points" in report.answer
    assert any(path.name == "removal_curves.png" for path in report.pictures)
    assert "grad_cam by average_drop, insertion_auc on 8 val images" in report.page.read_text()


def test_another_evaluation_is_another_one(folder):
    study = Study.opened(folder)
    study.plan = StudyPlan("study", "c.yaml", study.plan.axes, (0,), EvaluationPlan(metrics="road"))
    assert study.rows() == []
    assert not study.evaluation_of(study.trials[0]).exists()


@pytest.mark.parametrize(
    ("words", "split"),
    [
        (("--methods", "grad_cam"), "test"),
        (("--split", "val", "--limit", "3"), "val"),
        (("--split=val",), "val"),
        (("--split", "test", "--panels", "0", "--split", "val"), "val"),  # --evaluate-with could say it again
        (("--split", "val", "--split=test"), "test"),
    ],
)
def test_the_last_split_counts(words, split):
    assert split_of_words(words) == plan_of_words(words).split == split


def test_all_words_are_understood():
    words = [
        "--target-layer",
        "layer2",
        "--channels",
        "64",
        "--max-batch",
        "8",
        "--batch-size",
        "4",
        "--resamples",
        "10",
    ]
    words += ["--class-of", "label", "--annotation", "masks", "--insertion-start", "zeros", "--deletion-end", "blur"]
    words += ["--stages", "2", "--tolerance", "3.5", "--seed", "7", "--device", "cpu", "--size", "32", "--fresh"]
    settings = EvaluationSettings("label", "masks", 28, "zeros", "blur", num_stages=2, tolerance=3.5, seed=7)
    expected = EvaluationPlan(
        settings=settings, target_layer="layer2", num_channels=64, max_batch=8, batch_size=4, num_resamples=10
    )
    assert plan_of_words(words) == expected


@pytest.mark.parametrize(
    ("command", "split"),
    [
        (["camtrain", "ablate", "--metrics", "none"], "test"),
        (["camtrain", "ablate", "--metrics", "none", "--split", "val"], "val"),
    ],
)
def test_the_split_of_a_study_without_maps_is_in_its_command(command, split):
    """No maps, but accuracies."""
    asked = {"name": "s", "config": "c", "axes": [], "seeds": [0], "evaluation": [], "command": command}
    plan = StudyPlan.from_json(asked)
    assert (plan.evaluation, plan.split) == (None, split)
