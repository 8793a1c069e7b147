"""A study of several calls with other values on the same folder."""

from __future__ import annotations

import copy
import re
import sys
from pathlib import Path

import pytest
import yaml

import camtrain
from camtrain.ablation import Ablation
from camtrain.ablation.wandb_sweep import point_of
from camtrain.evaluation import EvaluationPlan
from camtrain.messages import CamtrainWarning
from camtrain.runs import RunSettings
from camtrain.study import Study

WEIGHT, DISTANCE = "model.regularizer_weight", "model.regularizer.distance"
CONFIG = {
    "model": {
        "network": "cifar_resnet8",
        "regularizer": {"class_path": "camtrain.regularizers.InterpretableGradient"},
    },
    "data": {"class_path": "camtrain.data.DecoyDigits"},
    "trainer": {"max_epochs": 1, "fast_dev_run": False},
}


class Resolves:
    """Stands in for the resolver, which takes a quarter of a second for a configuration."""

    run_settings = RunSettings(wandb="disabled")
    given_checkpoint = None

    def __init__(self, path, _check=None):
        self._config = {**yaml.safe_load(Path(path).read_text()), "seed_everything": 0}

    def resolved(self, point, seed, *, check=False):
        config = copy.deepcopy(self._config) | {"seed_everything": seed, "checkpoint": {}}
        config["model"]["regularizer"]["init_args"] = {"distance": "cosine"}
        for key, value in point.items():
            if key == DISTANCE:
                config["model"]["regularizer"]["init_args"]["distance"] = value
            else:
                section, _, name = key.partition(".")
                config[section][name] = float(value) if key == WEIGHT else value
        return config


@pytest.fixture
def resolves(monkeypatch):
    # The package has a function of the module's name.
    monkeypatch.setattr(sys.modules["camtrain.ablation.ablate"], "ConfigResolver", Resolves)


def finishes(study, on_trial):
    """An executor whose trials score the better the larger λ is, by a hair per seed."""
    for trial in study.trials:
        if study.row(trial) is None:
            gain = trial.config["model"]["regularizer_weight"] / 10 + trial.seed / 1000
            scores = {"test/accuracy": 0.9, "evaluated/insertion_auc/grad_cam": 0.5 + gain}
            study.write_row(trial, scores)
    return []


def called(folder, weights, *, config=CONFIG, **options):
    """A call of ablate with values of λ; further keys of the grid are `more`."""
    grid = {WEIGHT: weights, **options.pop("more", {})}
    defaults = {"evaluation": EvaluationPlan(metrics="insertion_auc"), "num_validation_images": 0, "wandb": "disabled"}
    return camtrain.ablate(config, grid, folder=folder, executor=finishes, progress=False, **{**defaults, **options})


def points(ablation):
    return [(row[WEIGHT], row["seed"]) for row in ablation.rows]


@pytest.mark.usefixtures("resolves")
def test_other_values_add_to_the_study(tmp_path):
    called(tmp_path, [0, 0.5], seeds=[0, 1])
    study = called(tmp_path, [1], seeds=[0])
    everything = [(0, 0), (0, 1), (0.5, 0), (0.5, 1), (1, 0)]
    assert points(study) == points(Ablation.opened(tmp_path)) == everything
    assert [trial.point for trial in study.study.trials] == [{WEIGHT: 1}], "only the present grid is run"
    answer = study.answer()
    assert [each.runs.label for each in answer.compared] == ["λ = 0", "λ = 0.5", "λ = 1"]
    assert answer.best.runs.label == "λ = 1"
    assert len((tmp_path / "results.csv").read_text().splitlines()) == 1 + len(everything)
    # And a third call has what the first two had, also for a value between theirs.
    assert points(called(tmp_path, [0.25])) == [*everything[:2], (0.25, 0), *everything[2:]]
    page = study.report().page.read_text()
    assert "<dt>λ</dt><dd>0, 0.5, 1</dd>" in page
    assert "<dt>seeds</dt><dd>0, 1</dd>" in page
    assert "5 of 5 runs finished" in page


@pytest.mark.usefixtures("resolves")
def test_only_shows_the_present_grid(tmp_path):
    called(tmp_path, [0, 0.5], seeds=[0, 1])
    assert points(called(tmp_path, [0, 1], only=True)) == [(0, 0), (1, 0)]
    assert len((tmp_path / "results.csv").read_text().splitlines()) == 3
    assert points(Ablation.opened(tmp_path, only=True)) == [(0, 0), (1, 0)]
    assert len(Ablation.opened(tmp_path).rows) == 5, "nothing is forgotten"


@pytest.mark.usefixtures("resolves")
def test_another_key_makes_points_of_both_keys(tmp_path):
    called(tmp_path, [0, 0.5])
    study = called(tmp_path, [0.0, 1.0], more={DISTANCE: ["cosine", "mae"]})
    labels = [each.runs.label for each in study.answer().compared]
    assert labels == [
        "λ = 0, distance = cosine", "λ = 0, distance = mae", "λ = 0.5, distance = cosine",
        "λ = 1, distance = cosine", "λ = 1, distance = mae",
    ]  # fmt: skip
    assert len({row["trial"] for row in study.rows}) == 5
    again = called(tmp_path, [2])
    assert [each.runs.label for each in again.answer().compared] == [*labels, "λ = 2, distance = cosine"]
    assert point_of(again.study, [f"{WEIGHT}=2", "seed=0"]) == again.study.trials[0]
    assert [each.runs.label for each in called(tmp_path, [2], only=True).answer().compared] == ["λ = 2"]


def test_points_are_those_of_the_same_configuration_as_it_is_resolved(tmp_path):
    called(tmp_path, [0.5])
    study = called(tmp_path, [0], more={DISTANCE: ["mae"]})
    labels = [each.runs.label for each in study.answer().compared]
    assert labels == ["λ = 0, distance = mae", "λ = 0.5, distance = cosine"]


@pytest.mark.usefixtures("resolves")
def test_a_value_that_is_typed_in_two_ways_is_one_point(tmp_path):
    called(tmp_path, [0, 0.5], seeds=[0, 1])
    study = called(tmp_path, [0.0, 1.0], seeds=[2])
    assert [str(each.runs) for each in study.answer().compared] == [
        "λ = 0 (seeds 0, 1, 2)", "λ = 0.5 (seeds 0, 1)", "λ = 1 (seeds 2)",
    ]  # fmt: skip


@pytest.mark.usefixtures("resolves")
def test_what_cannot_be_compared_is_left_out_and_named(tmp_path):
    called(tmp_path, [0, 0.5])
    longer = {**CONFIG, "trainer": {"max_epochs": 2, "fast_dev_run": False}}
    with pytest.warns(CamtrainWarning, match=r"2 finished runs in .* are not in the report: another configuration"):
        assert points(called(tmp_path, [0.5, 1], config=longer)) == [(0.5, 0), (1, 0)]
    # Epochs that are typed are a key of the grid, and so is a single value of it.
    called(tmp_path / "typed", [0, 0.5], more={"trainer.max_epochs": [2]})
    typed = called(tmp_path / "typed", [1], more={"trainer.max_epochs": [3]})
    assert [each.runs.label for each in typed.answer().compared] == [
        "λ = 0, max_epochs = 2", "λ = 0.5, max_epochs = 2", "λ = 1, max_epochs = 3",
    ]  # fmt: skip
    other = EvaluationPlan(metrics="insertion_auc", num_images=8)
    with pytest.warns(CamtrainWarning, match="3 finished runs"):
        assert points(called(tmp_path / "typed", [2], more={"trainer.max_epochs": [3]}, evaluation=other)) == [(2, 0)]


@pytest.mark.usefixtures("resolves")
def test_a_folder_that_an_earlier_version_left_is_added_to(tmp_path):
    """It kept the last grid alone in study.json, and the trials of the others in their folders."""
    called(tmp_path, [0, 0.5])
    called(tmp_path, [1], only=True)
    study = Study.opened(tmp_path)
    Study(tmp_path, study.plan, study.trials).write()
    assert points(Ablation.opened(tmp_path)) == [(1, 0)]
    assert points(called(tmp_path, [1])) == [(0, 0), (0.5, 0), (1, 0)]


@pytest.mark.usefixtures("resolves")
def test_the_page_has_the_commands_of_all_calls(tmp_path):
    called(tmp_path, [0, 0.5])
    first = Study.opened(tmp_path)
    object.__setattr__(first.plan, "command", ("camtrain", "ablate", "--set", "first"))
    first.write()
    page = called(tmp_path, [1]).report().page.read_text()
    assert re.search(r"camtrain ablate --set first\ncamtrain report", page)
