"""Which runs a study has."""

from __future__ import annotations

import itertools

import pytest

from camtrain.evaluation import EvaluationPlan, EvaluationSettings
from camtrain.study import Axis, Study, StudyPlan, Trial, grid


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ("model.regularizer_weight=0,1e-3,7.5e-3,1", (0, 0.001, 0.0075, 1)),
        ("model.regularizer.distance=cosine,mae", ("cosine", "mae")),
        ("data.classes=[apple, bee],[cat]", (["apple", "bee"], ["cat"])),
        ("model.regularizer=null,{class_path: MapL1}", (None, {"class_path": "MapL1"})),
        ("trainer.deterministic=true,false", (True, False)),
    ],
)
def test_values_are_yaml(words, values):
    axis = Axis.parsed(words)
    assert axis == Axis(words.split("=")[0], values)
    assert [type(value) for value in axis.values] == [type(value) for value in values]


@pytest.mark.parametrize("words", ["", "key", "key=", "=1,2", "key=1,1", "key=[1", "key=0.001,1e-3"])
def test_other_words_are_refused(words):
    with pytest.raises(ValueError, match="`grid`: expected"):
        Axis.parsed(words)


def test_the_grid_has_all_combinations():
    axes = [Axis("a", (1, 2)), Axis("b", ("x", "y", "z")), Axis("c", (None,))]
    expected = {(a, b, None) for a, b in itertools.product((1, 2), "xyz")}
    assert {tuple(point.values()) for point in grid(axes)} == expected


CONFIG = {"seed_everything": 0, "model": {"regularizer_weight": 0.1, "network": "resnet18"}, "data": {"seed": 0}}


@pytest.mark.parametrize(
    "other",
    [
        {**CONFIG, "seed_everything": 1},
        {**CONFIG, "model": {"regularizer_weight": 0.2, "network": "resnet18"}},
        {**CONFIG, "model": {"regularizer_weight": 0.1, "network": "resnet34"}},
        {**CONFIG, "data": {"seed": 1}},
        {**CONFIG, "trainer": {"max_epochs": 3}},
    ],
)
def test_every_setting_makes_another_run(other):
    assert Trial({}, 0, CONFIG).hash != Trial({}, 0, other).hash
    assert Trial({}, 0, CONFIG).name != Trial({}, 0, other).name


def test_the_order_of_settings_makes_no_other_run():
    assert Trial({}, 0, CONFIG).hash == Trial({}, 0, dict(reversed(CONFIG.items()))).hash


def test_names_are_folders():
    point = {"model.regularizer": {"class_path": "camtrain.regularizers.MapL1"}, "data.root": "/a/b c"}
    assert Trial(point, 3, CONFIG).name.startswith("regularizer=MapL1,root=_a_b_c,seed=3-")
    assert len(Trial({f"key_{number}": number for number in range(50)}, 0, CONFIG).name) < 120


def study(folder, weights=(0, 0.1), **planned):
    trials = [Trial({"model.regularizer_weight": each}, 0, {"model": {"regularizer_weight": each}}) for each in weights]
    plan = StudyPlan("study", "c.yaml", (Axis("model.regularizer_weight", tuple(weights)),), (0,), **planned)
    return Study(folder, plan, trials)


def test_a_study_is_read_back(tmp_path):
    evaluation = EvaluationPlan(
        "grad_cam, layer_cam",
        ["average_drop", "road"],
        "val",
        num_images=8,
        settings=EvaluationSettings(num_steps=4, removed_shares=(0.2, 0.4), tolerance=2.5),
        target_layer="layer2",
    )
    written = study(
        tmp_path, evaluation=evaluation, split="val", threads=3, tags=("a",), command=("camtrain", "ablate")
    )
    written.write()
    found = Study.opened(tmp_path)
    assert found.plan == written.plan
    assert found.trials == written.trials
    assert found.plan.evaluation.methods == ("grad_cam", "layer_cam")
    assert study(tmp_path).plan == StudyPlan.from_json(study(tmp_path).plan.as_json())


def test_a_row_is_of_one_configuration_and_one_evaluation(tmp_path):
    first = study(tmp_path, evaluation=EvaluationPlan(metrics="win"))
    first.write_row(first.trials[0], {"test/accuracy": 0.5})
    assert first.row(first.trials[0])["test/accuracy"] == 0.5
    assert first.row(first.trials[1]) is None
    assert study(tmp_path, evaluation=EvaluationPlan(metrics="road")).row(first.trials[0]) is None


def test_results_hold_the_finished_trials(tmp_path):
    written = study(tmp_path)
    written.write()
    written.write_row(written.trials[1], {"test/accuracy": 0.25, "evaluated/road/grad_cam": None, "commit": "abc"})
    lines = written.write_results().read_text().splitlines()
    assert lines[0] == "trial,hash,seed,model.regularizer_weight,commit,evaluated/road/grad_cam,test/accuracy"
    assert lines[1:] == [f'"{written.trials[1].name}",{written.trials[1].hash},0,0.1,abc,,0.25']


def test_runs_of_another_grid_are_no_part_of_it(tmp_path):
    wide = study(tmp_path, weights=(0, 0.1, 0.2))
    for trial in wide.trials:
        wide.write_row(trial, {"test/accuracy": 0.5})
    narrow = study(tmp_path, weights=(0.1,))
    assert [row["model.regularizer_weight"] for row in narrow.rows()] == [0.1]
    assert len(narrow.others()) == 2


def test_a_folder_without_a_study(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no study: `camtrain ablate --out"):
        Study.opened(tmp_path)
