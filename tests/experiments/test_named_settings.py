"""Named settings: their configuration, their rows, and that nothing is trained twice."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from camtrain.evaluation import EvaluationPlan
from experiments import named_settings
from experiments.named_settings import Board, Setting, SettingRows, scored

WEIGHT = "model.regularizer_weight"


@pytest.fixture
def board(tmp_path):
    config = tmp_path / "base.yaml"
    config.write_text("model: {network: resnet18, regularizer: {class_path: Old, init_args: {a: 1}}}\n")
    plans = EvaluationPlan(split="val"), EvaluationPlan()
    return Board("board", "a board", str(config), *plans, {"trainer.max_epochs": 3}, tmp_path / "runs")


def test_a_setting_replaces_what_it_names(board):
    setting = Setting("new", {"model.regularizer": {"class_path": "New"}, "data.x": 5})
    config = board.config_of(setting)
    # The whole regularizer is another one: arguments of the former one must not stay.
    assert config == {
        "model": {"network": "resnet18", "regularizer": {"class_path": "New"}},
        "trainer": {"max_epochs": 3},
        "data": {"x": 5},
    }


def test_changes_of_the_seed(board):
    setting = Setting("seeded", {"data.x": 5}, of_seed=lambda seed: {"data.x": 10 * seed})
    assert board.config_of(setting, 2)["data"] == {"x": 20}


def test_two_writers_keep_the_rows_of_each_other(tmp_path):
    writers = [SettingRows(tmp_path / "a.csv") for _ in range(2)]
    for seed, rows in enumerate(writers):
        rows.add("test", [{WEIGHT: 0.5, "seed": seed, "test/accuracy": 0.75}])
    assert set(SettingRows(tmp_path / "a.csv").of("test", 0.5)) == {0, 1}


def test_rows_are_read_as_they_were_written(tmp_path):
    rows = SettingRows(tmp_path / "a.csv")
    commit, python = "7034437071e5", "3.10"  # no numbers, though both could be read as such
    of_test = {WEIGHT: 0.5, "seed": 1, "test/accuracy": 0.75, "commit": commit, "version/python": python}
    rows.add("test", [{**of_test, "trial": "name"}])
    rows.add("val", [{WEIGHT: 0.5, "seed": 0, "val/accuracy": 0.5}])
    again = SettingRows(tmp_path / "a.csv")
    assert again.of("test", 0.5) == {1: {"split": "test", **of_test}}
    assert again.of("val", 0.5)[0]["val/accuracy"] == 0.5
    assert again.weights("test") == [0.5]
    assert again.missing("test", [0.5, 1.0], [0, 1]) == [(0.5, 0), (1.0, 0), (1.0, 1)]


@pytest.fixture
def calls(monkeypatch):
    """Calls of `ablate`, which makes rows out of nothing."""
    made = []

    def ablate(config, grid, *, seeds, folder, evaluation, **_):
        made.append((grid[WEIGHT], list(seeds), folder.name, evaluation.split))
        return SimpleNamespace(rows=[{WEIGHT: grid[WEIGHT][0], "seed": seed} for seed in seeds], failed=[])

    monkeypatch.setattr(named_settings, "ablate", ablate)
    return made


def test_only_what_is_missing_is_trained(board, tmp_path, calls):
    setting, path = Setting("s", weights=(0.1, 0.3)), tmp_path / "s.csv"
    scored(board, setting, SettingRows(path), "val", setting.weights, [0])
    scored(board, setting, SettingRows(path), "val", setting.weights, [0, 1])
    scored(board, setting, SettingRows(path), "test", [0.3], [0])
    scored(board, setting, SettingRows(path), "test", [0.3], [0])
    assert calls == [
        ([0.1], [0], "weight_0.1", "val"),
        ([0.3], [0], "weight_0.3", "val"),
        ([0.1], [1], "weight_0.1", "val"),
        ([0.3], [1], "weight_0.3", "val"),
        ([0.3], [0], "weight_0.3", "test"),
    ]


def test_a_setting_of_the_seed_has_a_study_for_each_seed(board, tmp_path, calls):
    setting = Setting("s", of_seed=lambda seed: {"data.x": seed})
    scored(board, setting, SettingRows(tmp_path / "s.csv"), "test", [0.0], [0, 1])
    assert calls == [([0.0], [0], "seed_0", "test"), ([0.0], [1], "seed_1", "test")]


def test_a_failed_training_ends_the_program_and_keeps_the_others(board, tmp_path, monkeypatch):
    failed = SimpleNamespace(message="no memory", log=tmp_path / "trial.log")
    study = SimpleNamespace(rows=[{WEIGHT: 0.0, "seed": 0}], failed=[failed])
    monkeypatch.setattr(named_settings, "ablate", lambda *_, **__: study)
    with pytest.raises(SystemExit, match=r"board, s, λ = 0: no memory \(.*trial.log\)"):
        scored(board, Setting("s"), SettingRows(tmp_path / "s.csv"), "test", [0.0], [0, 1])
    assert SettingRows(tmp_path / "s.csv").missing("test", [0.0], [0, 1]) == [(0.0, 1)]


def test_a_training_that_was_stopped_ends_the_program(board, tmp_path, monkeypatch):
    """What is chosen among must be whole."""
    monkeypatch.setattr(named_settings, "ablate", lambda *_, **__: SimpleNamespace(rows=[], failed=[]))
    with pytest.raises(SystemExit, match="board, s, λ = 0: stopped before its end; call this again to go on"):
        scored(board, Setting("s"), SettingRows(tmp_path / "s.csv"), "test", [0.0], [0, 1])
