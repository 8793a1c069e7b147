"""The table of leakage beyond that of another image's map, against values by hand."""

from __future__ import annotations

import pytest

from experiments.league import leakage
from experiments.league.boards import BOARDS
from experiments.named_settings import SettingRows

WEIGHT = "model.regularizer_weight"


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.setattr(leakage, "HERE", tmp_path)


def add(setting, weight, leakages, controls):
    """Rows of a setting: Grad-CAM's leakage and its control's by seed; the other CAMs leak twice as much as it."""
    rows = []
    for seed, (own, control) in enumerate(zip(leakages, controls, strict=True)):
        row = {WEIGHT: weight, "seed": seed}
        for method in leakage.CAMS:
            row[f"evaluated/map_leakage/{method}"] = own if method == "grad_cam" else 2 * own
            row[f"evaluated/map_leakage/shuffled_{method}"] = control
        rows.append(row)
    SettingRows(leakage.HERE / "resnet20" / f"{setting}.csv").add("test", rows)


def test_changes_are_seed_by_seed_and_beyond_control():
    add("plain", 0.0, [0.04, 0.06], [0.03, 0.03])
    add("map_faithfulness", 0.5, [0.06, 0.08], [0.01, 0.01])
    heading, _, plain, ours = leakage.leakage_table().splitlines()
    assert len(heading.split("|")) == len(plain.split("|")) == len(ours.split("|")) == 9
    cells = [cell.strip() for cell in plain.split("|")[1:-1]]
    assert cells == ["CIFAR-100, 8 classes, ResNet-20: plain training", "2", "5.0 ± 1.4", "3.0 ± 0.0", "", "", ""]
    cells = [cell.strip() for cell in ours.split("|")[1:-1]]
    assert cells[0].endswith("MapFaithfulness, λ = 0.5")
    assert cells[2:4] == ["7.0 ± 1.4", "1.0 ± 0.0"]
    # Grad-CAM leaks 2 points more in each seed, and its control 2 points less; the mean of the CAMs rises by 3.5.
    assert [cell.strip("*").split(" ")[0] for cell in cells[4:]] == ["+2.0", "+4.0", "+5.5"]


def test_without_rows_there_is_no_table():
    assert leakage.leakage_table() == ""


def test_leakage_alone_is_scored_on_images_from_all_over_the_data():
    plan = leakage.with_leakage_alone(BOARDS["mobilenet_v2"]).test
    assert (plan.settings.parts, plan.controls, plan.split) == ("spread", ("shuffled",), "test")
    assert plan.num_images == BOARDS["mobilenet_v2"].test.num_images
    assert [each.name for each in leakage.compared_on("resnet20")] == list(leakage.SETTINGS)


def test_lambda_is_the_default_or_the_chosen_one(monkeypatch):
    settings = {each.name: each for each in leakage.compared_on("resnet20")}
    assert leakage.weight_of("resnet20", settings["map_faithfulness_not_swapped"]) == 0.5
    assert leakage.weight_of("resnet20", settings["plain"]) == 0
    assert leakage.weight_of("resnet20", settings["map_faithfulness"]) == 0.5
    monkeypatch.setattr(leakage, "choice", lambda *_: 0.3)
    assert leakage.weight_of("resnet20", settings["attention_mining"]) == 0.3
    monkeypatch.setattr(leakage, "choice", lambda *_: None)
    assert leakage.weight_of("resnet20", settings["attention_mining"]) is None
