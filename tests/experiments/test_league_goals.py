"""Whether the league's goals are reached, against values by hand."""

from __future__ import annotations

import pytest

from experiments.compared_settings import compared_settings
from experiments.league import goals
from experiments.league.league import settings_of
from experiments.named_settings import SettingRows

WEIGHT = "model.regularizer_weight"
HIGHER = {"average_increase", "average_gain", "road"}


def rows(path, weight, beyond, accuracy, leakage=0.05, energy=0.5):
    """Three seeds of a setting; all scores of all CAMs are `beyond[seed]` better than their control's."""
    found = []
    for seed in range(3):
        row = {WEIGHT: weight, "seed": seed, "test/accuracy": accuracy[seed]}
        for method in goals.CAMS:
            for metric in goals.SCORES:
                sign = 1 if metric in HIGHER else -1
                row[f"evaluated/{metric}/{method}"] = 0.5 + sign * beyond[seed]
                row[f"evaluated/{metric}/shuffled_{method}"] = 0.5
            row[f"evaluated/map_leakage/{method}"] = leakage
        row["evaluated/energy_pointing_game/grad_cam"] = energy + seed / 1000
        found.append(row)
    made = SettingRows(path)
    made.add("test", found)
    return made


@pytest.fixture
def boards(tmp_path):
    settings = {each.name: each for each in settings_of("pets")}

    def compared(name, plain, ours, accuracy, leakage=0.05):
        results = {
            settings["plain"]: rows(tmp_path / f"{name}_plain.csv", 0.0, plain, [0.8, 0.8, 0.8]),
            settings["map_faithfulness"]: rows(tmp_path / f"{name}_ours.csv", 0.5, ours, accuracy, leakage),
            settings["energy_inside"]: rows(tmp_path / f"{name}_e.csv", 0.3, plain, [0.8] * 3),
            settings["map_faithfulness_energy_inside"]: rows(
                tmp_path / f"{name}_b.csv", 1, plain, [0.8] * 3, 0.05, 0.6
            ),
        }
        return compared_settings(results)

    return compared


def table(boards):
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in goals.goals_table(boards).splitlines()[2:]]


def test_goals_that_are_reached(boards):
    found = table({"resnet20": boards("a", [0.1, 0.1, 0.101], [0.13, 0.13, 0.13], [0.8, 0.801, 0.802], 0.06)})
    gain, accuracy, leakage, of_trained, *steps = found
    assert gain[0].startswith("CIFAR-100, 8 classes, ResNet-20: drop, increase")
    # 0.03, 0.03 and 0.029 of a mean of 0.1003: 29.6 %.
    assert "**+30 (+28 to +31)** %" in gain[2]
    assert [row[3] for row in (gain, accuracy, leakage, of_trained)] == ["yes"] * 4
    assert leakage[2] == of_trained[2] == "**+1.0 (+1.0 to +1.0)** points"
    assert [row[3] for row in steps] == ["yes", "yes"]


def test_goals_that_are_missed(boards):
    found = table({"resnet20": boards("a", [0.1, 0.1, 0.101], [0.11, 0.11, 0.111], [0.79, 0.792, 0.791], 0.09)})
    assert [row[3] for row in found[:4]] == ["no"] * 4
    found = table({"resnet20": boards("b", [0.1, 0.1, 0.101], [0.13, 0.13, 0.13], [0.8, 0.81, 0.79])})
    assert found[1][3] == "on the mean", "0 points, −2.5 to +2.5"


def test_scores_without_a_percentage_have_to_gain(boards):
    """Plain training's maps are no better than another image's for certain, and so nothing is said in percent."""
    (row, *_) = table({"resnet20": boards("a", [0.01, -0.01, 0.02], [0.13, 0.12, 0.14], [0.8, 0.8, 0.8])})
    assert row[2:] == [
        "20 of 20 have no percentage, of which 20 gain for certain",
        "where there is a percentage (0 of 20)",
    ]


def test_energy_of_both_penalties_against_one(boards):
    found = table({"pets": boards("a", [0.1] * 3, [0.1] * 3, [0.8] * 3)})
    assert found[-1][1:] == ["higher", "**+10.0 (+10.0 to +10.0)** points", "yes"]
