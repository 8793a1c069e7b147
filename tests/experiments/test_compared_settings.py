"""Comparisons of named settings with plain training, against values by hand."""

from __future__ import annotations

import pytest

from camtrain.report import Estimate
from camtrain.report.pareto_plane import pareto_front
from experiments.compared_settings import (
    _cost_name,
    beyond,
    beyond_table,
    bold,
    compared_settings,
    difference_table,
    score_table,
    summary_table,
    write_plane,
)
from experiments.interpretable_gradient.recipes import recipes
from experiments.league.league import ON_OTHER_BOARDS, planned, settings_of
from experiments.league.settings import regularized
from experiments.map_faithfulness import ablation
from experiments.named_settings import Setting, SettingRows
from experiments.regularizer_cost.regularizer_cost import REGULARIZERS

WEIGHT = "model.regularizer_weight"
PLAIN = Setting("plain", {"model.regularizer": None})
OURS = Setting("ours", {"model.regularizer": {"class_path": "camtrain.regularizers.Made"}}, (0.5,), "Ours")


@pytest.fixture(autouse=True)
def _costs(tmp_path, monkeypatch):
    path = tmp_path / "costs.csv"
    path.write_text("regularizer,step_over_plain\nplain,1.0\nMade,2.43\n")
    monkeypatch.setattr("experiments.compared_settings.COSTS", path)


def rows_of(path, weight, drops, controls, accuracies, leakages):
    rows = SettingRows(path)
    rows.add(
        "test",
        [
            {
                WEIGHT: weight,
                "seed": seed,
                "test/accuracy": accuracy,
                "evaluated/average_drop/grad_cam": drop,
                "evaluated/average_drop/shuffled_grad_cam": control,
                "evaluated/map_leakage/grad_cam": leakage,
            }
            for seed, (drop, control, accuracy, leakage) in enumerate(
                zip(drops, controls, accuracies, leakages, strict=True)
            )
        ],
    )
    return rows


@pytest.fixture
def compared(tmp_path):
    plain = rows_of(tmp_path / "plain.csv", 0.0, [0.3, 0.2], [0.4, 0.4], [0.8, 0.82], [0.05, 0.05])
    ours = rows_of(tmp_path / "ours.csv", 0.5, [0.1, 0.1], [0.4, 0.5], [0.8, 0.8], [0.06, 0.06])
    return compared_settings({PLAIN: plain, OURS: ours})


def test_a_score_beyond_another_images_map(compared):
    score = compared[0].against.runs.rows[0]
    assert score["evaluated/average_drop/grad_cam"] == 0.3
    found = [beyond(each.runs, column_of("average_drop")) for each in compared]
    # Lower drop is better, so that the control's drop less the map's own counts.
    assert found[0] == pytest.approx({0: 0.1, 1: 0.2})
    assert found[1] == pytest.approx({0: 0.3, 1: 0.4})


def column_of(metric):
    from camtrain.report.score_columns import ScoreColumn

    return ScoreColumn(metric, "grad_cam")


def test_the_relative_change_beyond_control(tmp_path):
    plain = rows_of(tmp_path / "plain.csv", 0.0, [0.3, 0.2], [0.4, 0.3], [0.8, 0.8], [0.05, 0.05])
    ours = rows_of(tmp_path / "ours.csv", 0.5, [0.1, 0.1], [0.4, 0.4], [0.8, 0.8], [0.05, 0.05])
    compared = compared_settings({PLAIN: plain, OURS: ours})
    # 0.1 → 0.3 in both seeds.
    row = beyond_table(compared, ["grad_cam"]).splitlines()[-1]
    assert row == "| Ours, λ = 0.5 | **+20.0 (+20.0 to +20.0)** | **+200 (+200 to +200)** % |"


def test_a_change_is_in_points_where_the_plain_score_may_be_zero(compared):
    # 0.1 and 0.2: two seeds leave open whether that is above 0. The change is 0.2 in both.
    row = beyond_table(compared, ["grad_cam"]).splitlines()[-1]
    assert row.endswith("| **+20.0 (+20.0 to +20.0)** points |")


def test_of_one_seed_no_change_is_in_percent(tmp_path):
    plain = rows_of(tmp_path / "plain.csv", 0.0, [0.3], [0.4], [0.8], [0.05])
    ours = rows_of(tmp_path / "ours.csv", 0.5, [0.1], [0.4], [0.8], [0.05])
    row = beyond_table(compared_settings({PLAIN: plain, OURS: ours}), ["grad_cam"]).splitlines()[-1]
    assert row == "| Ours, λ = 0.5 | +20.0 | +20.0 points |"


def test_a_gain_without_scores_against_boxes(tmp_path):
    """Beyond control the drop gains 10 points and energy 30; the mean of the two is 20."""

    def rows(name, weight, drop, energy):
        made = SettingRows(tmp_path / f"{name}.csv")
        scores = {"average_drop": (drop, 0.6), "energy_pointing_game": (energy, 0.2)}
        columns = {
            f"evaluated/{metric}/{method}": value
            for metric, pair in scores.items()
            for method, value in zip(("grad_cam", "shuffled_grad_cam"), pair, strict=True)
        }
        made.add("test", [{WEIGHT: weight, "seed": seed, "test/accuracy": 0.8, **columns} for seed in (0, 1)])
        return made

    results = {PLAIN: rows("plain", 0.0, 0.5, 0.25), OURS: rows("ours", 0.5, 0.4, 0.55)}
    heading, _, plain, ours = summary_table(compared_settings(results)).splitlines()
    names = [cell.strip() for cell in heading.split("|")]
    assert names[8:11] == ["the same without boxes", "change of leakage, all methods", "change of leakage, Grad-CAM"]
    assert [cell.strip() for cell in plain.split("|")[-6:-1]] == ["", "", "", "", "1.0"]
    assert "| **+20.0 (+20.0 to +20.0)** | **+10.0 (+10.0 to +10.0)** |" in ours
    # Each score has its cell; their mean is that of the drop alone.
    row = beyond_table(compared_settings(results), ["grad_cam"]).splitlines()[-1]
    assert row.startswith("| Ours, λ = 0.5 | **+10.0 (+10.0 to +10.0)** | **+100 (+100 to +100)** % |")


def test_the_mean_of_several_scores_beyond_control(tmp_path):
    def rows(name, weight, scores):
        columns = {
            f"evaluated/{metric}/{method}": value
            for metric, (own, control) in scores.items()
            for method, value in (("grad_cam", own), ("shuffled_grad_cam", control))
        }
        made = SettingRows(tmp_path / f"{name}.csv")
        made.add("test", [{WEIGHT: weight, "seed": seed, "test/accuracy": 0.8, **columns} for seed in (0, 1)])
        return made

    plain = {"average_gain": (0.125, 0.125), "deletion_auc": (0.25, 0.375), "road": (0.25, 0.125)}
    ours = {"average_gain": (0.375, 0.125), "deletion_auc": (0.0, 0.375), "road": (0.25, 0.25)}
    compared = compared_settings({PLAIN: rows("plain", 0.0, plain), OURS: rows("ours", 0.5, ours)})
    heading, _, cells = beyond_table(compared, ["grad_cam"]).splitlines()
    assert heading == "| | mean, points | average gain | deletion | ROAD |"
    # Beyond control, more is better: 0 → 0.25, 0.125 → 0.375 and 0.125 → 0.
    assert [cell.strip() for cell in cells.split("|")[2:-1]] == [
        "**+12.5 (+12.5 to +12.5)**",
        "**+25.0 (+25.0 to +25.0)** points",
        "**+200 (+200 to +200)** %",
        "**−100 (−100 to −100)** %",
    ]


def test_the_table_to_choose_from(compared):
    heading, _, plain, ours = summary_table(compared).splitlines()
    assert heading.startswith("| | λ | seeds | accuracy, % | change of accuracy | gain of maps | gain beyond control |")
    assert plain == "| plain | – | 2 | 81.0 ± 1.4 | | | | | | 1.0 |"
    cells = [cell.strip() for cell in ours.strip("|").split("|")]
    assert cells[:4] == ["Ours", "0.5", "2", "80.0 ± 0.0"]
    # Accuracy 0 and -2 points: mean -1, half of the interval 12.706 · 1.414 / 1.414.
    assert cells[4] == "−1.0 (−13.7 to +11.7)"
    # Drop 20 and 10 points lower; beyond control 20 points each, leakage one point more in each seed.
    assert cells[5] == "+15.0 (−48.5 to +78.5)"
    assert cells[6:] == ["**+20.0 (+20.0 to +20.0)**", *["**+1.0 (+1.0 to +1.0)**"] * 2, "2.4"]


def test_scores_of_a_method(compared):
    assert score_table(compared, ["grad_cam"]).splitlines()[2:] == [
        "| plain | 25.0 ± 7.1 | 5.0 ± 0.0 |",
        "| Ours, λ = 0.5 | 10.0 ± 0.0 | 6.0 ± 0.0 |",
    ]


def test_scores_on_the_mean_of_several_methods(tmp_path):
    drops = {0: (0.2, 0.4), 1: (0.1, None)}  # seed 1 lacks one of the two
    made = SettingRows(tmp_path / "plain.csv")
    for seed, values in drops.items():
        named = zip(("evaluated/average_drop/layer_cam", "evaluated/average_drop/ablation_cam"), values, strict=True)
        columns = {column: value for column, value in named if value is not None}
        made.add("test", [{WEIGHT: 0.0, "seed": seed, "test/accuracy": 0.8, **columns}])
    table = score_table(compared_settings({PLAIN: made}), ["layer_cam", "ablation_cam"])
    assert table.splitlines() == ["| | drop ↓ |", "| --- | --- |", "| plain | 30.0 |"]


@pytest.mark.parametrize(
    ("regularizer", "name"),
    [
        ({"class_path": "camtrain.regularizers.MapL1"}, "MapL1"),
        ({"class_path": "a.MapFaithfulness", "init_args": {"method": "layer_cam"}}, "MapFaithfulness, layer_cam"),
        ({"class_path": "a.MapFaithfulness", "init_args": {"differentiable": True}}, "MapFaithfulness, differentiable"),
        (
            regularized("InterpretableGradient", batch_norm_statistics="running")["model.regularizer"],
            "InterpretableGradient, running statistics",
        ),
        (
            recipes("resnet20")["beside_map_faithfulness_0.1"].changes["model.regularizer"],
            "Sum of MapFaithfulness, InterpretableGradient, running statistics",
        ),
    ],
)
def test_the_step_of_a_regularizer_is_that_of_its_options(regularizer, name):
    assert name in REGULARIZERS
    assert _cost_name(regularizer) == name


def test_without_a_baseline_nothing_is_compared(tmp_path):
    ours = rows_of(tmp_path / "ours.csv", 0.5, [0.1], [0.4], [0.8], [0.06])
    assert compared_settings({PLAIN: SettingRows(tmp_path / "plain.csv"), OURS: ours}) == []


def test_the_plane_is_drawn(compared, tmp_path):
    write_plane({"a board": compared}, tmp_path / "plane")
    assert [path.name for path in tmp_path.glob("plane*")] == ["plane.png"]


def test_a_setting_without_a_common_seed_has_no_place_in_the_plane(tmp_path, monkeypatch):
    """NaN would make the front a wrong one."""
    fronts = []
    monkeypatch.setattr(
        "experiments.compared_settings.pareto_front", lambda places: fronts.append(places) or pareto_front(places)
    )
    plain = rows_of(tmp_path / "plain.csv", 0.0, [0.3], [0.4], [0.8], [0.05])
    ours = SettingRows(tmp_path / "ours.csv")
    ours.add("test", [{**plain.of("test", 0.0)[0], WEIGHT: 0.5, "seed": 5}])
    write_plane({"a board": compared_settings({PLAIN: plain, OURS: ours})}, tmp_path / "plane")
    assert fronts == [[(0.0, 0.0)]]


def test_variants_are_compared_on_validation_images(tmp_path, monkeypatch):
    from experiments.map_faithfulness import table

    for name, weight in (("plain", 0.0), ("map_faithfulness_half_time", 0.5)):
        row = {WEIGHT: weight, "seed": 0, "val/accuracy": 0.8, "evaluated/average_drop/grad_cam": 0.2}
        SettingRows(tmp_path / "resnet20" / f"{name}.csv").add("val", [row])
    monkeypatch.setattr(table, "HERE", tmp_path)
    assert [each.setting.name for each in table.compared("resnet20")] == ["plain", "map_faithfulness_half_time"]
    assert {each.accuracy for each in table.compared("resnet20")} == {"val/accuracy"}


@pytest.mark.parametrize(
    ("spread", "shown"),
    [
        (0.0040, "**+1.1 (+0.1 to +2.1)**"),
        (0.0045, "+1.1 (+0.0 to +2.3)"),  # from 0.02 points on, which no reader sees
        (0.0060, "+1.1 (−0.4 to +2.6)"),
    ],
)
def test_what_is_bold_excludes_zero_as_it_is_shown(spread, shown):
    """Student's t of three seeds is 4.303: 0.0114 ± 4.303 / √3 times the spread."""
    assert bold(Estimate(0.0114, spread, 3), digits=1) == shown


def test_differences_to_another_setting_than_plain_training(tmp_path):
    """Drops of 50, 40 and 46 %, and 60 % for another image's map: the third gains 6 points less than the second."""
    results = {
        Setting(name, {}): rows_of(tmp_path / f"{name}.csv", weight, [drop] * 2, [0.6] * 2, [accuracy] * 2, [0.05] * 2)
        for name, weight, drop, accuracy in (
            ("plain", 0.0, 0.5, 0.8),
            ("default", 0.5, 0.4, 0.79),
            ("other", 0.5, 0.46, 0.8),
        )
    }
    compared = compared_settings(results)
    table = difference_table(compared, of=compared[1]).splitlines()
    assert [cell.strip() for cell in table[0].split("|")[2:-1]] == [
        "accuracy", "gain of maps", "gain beyond control", "leakage"
    ]  # fmt: skip
    (row,) = table[2:]
    cells = [cell.strip(" *") for cell in row.split("|")[1:-1]]
    assert cells[0] == "other, λ = 0.5"
    assert [cell.split(" ")[0] for cell in cells[1:]] == ["+1.0", "−6.0", "−6.0", "+0.0"]


def test_boards_beyond_the_first_compare_a_few_settings():
    assert [each.name for each in planned("mobilenet_v2")] == [
        "plain", "random_erasing", "cutmix", "map_faithfulness", "attention_mining"
    ]  # fmt: skip
    assert planned("resnet20") == [*settings_of("resnet20")]
    assert planned("mobilenet_v2", everything=True) == [*settings_of("mobilenet_v2")]
    assert {*ON_OTHER_BOARDS} == {each.name for each in planned("digits")}  # none is lost when it gets another name


def test_a_short_training_compares_when_the_term_begins():
    board = ablation.board_of("resnet20_short")
    variants = ablation.variants_of(board)
    assert {*variants} == {*ablation.SCHEDULES}  # none is lost when it gets another name
    # λ begins or rises over the first half of eight epochs.
    schedules = {
        name: [each.changes.get(f"model.regularizer_{key}") for key in ("start_epoch", "warmup_epochs")]
        for name, each in variants.items()
    }
    assert schedules == {
        "plain": [None, None],
        "map_faithfulness_half_time": [4, None],
        "map_faithfulness": [None, None],
        "ramp": [0, 4],
    }
    whole = ablation.board_of("resnet20")
    assert len(ablation.variants_of(whole)) > len(variants)
    assert (board.validation.split, whole.validation.split) == ("val", "val")
    assert (board.validation.methods, whole.validation.methods) == (("grad_cam",), whole.test.methods)


def test_half_time_is_half_of_a_board_s_training():
    (late,) = [each for each in settings_of("mobilenet_v2") if each.name == "map_faithfulness_half_time"]
    assert late.changes["model.regularizer_start_epoch"] == 11
    epochs = {each.name: each.changes.get("model.regularizer_start_epoch") for each in settings_of("digits")}
    assert (epochs["map_faithfulness_half_time"], epochs["map_faithfulness"]) == (15, None)
