"""The league's table of all boards, against cells by hand."""

from __future__ import annotations

import pytest

from camtrain.report.figure_style import write_figure
from experiments.compared_settings import compared_settings
from experiments.league.across_boards import across_boards, table_across, write_across
from experiments.named_settings import Setting, SettingRows

WEIGHT = "model.regularizer_weight"
PLAIN = Setting("plain", {"model.regularizer": None})
CUTMIX = Setting("cutmix", {"model.regularizer": None}, title="CutMix")
_UNMEASURED = {"model.regularizer": {"class_path": "camtrain.regularizers.Made"}}  # no cost of a step is known
OURS = Setting("map_faithfulness", _UNMEASURED, (0.25, 0.5), "MapFaithfulness")


@pytest.fixture
def rows(tmp_path):
    def made(points, energy=None):
        found = SettingRows(tmp_path / f"{len(list(tmp_path.iterdir()))}.csv")
        for weight, (drop, accuracy) in points.items():
            scores = {"average_drop/grad_cam": drop, "average_drop/shuffled_grad_cam": 0.5}
            if energy is not None:
                scores |= {"energy_pointing_game/grad_cam": energy, "energy_pointing_game/shuffled_grad_cam": 0.1}
            named = {f"evaluated/{column}": value for column, value in scores.items()}
            found.add("test", [{WEIGHT: weight, "seed": seed, "test/accuracy": accuracy, **named} for seed in (0, 1)])
        return found

    return made


def cells_of(table):
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if "---" not in line]


def test_a_row_for_each_setting_and_one_for_the_default(rows):
    first = compared_settings(
        {
            PLAIN: rows({0.0: (0.4, 0.8)}),
            CUTMIX: rows({0.0: (0.45, 0.82)}),
            OURS: rows({0.25: (0.3, 0.8), 0.5: (0.2, 0.79)}),
        }
    )
    # With boxes: energy gains 40 points on this board, and is left out of the gain.
    second = compared_settings(
        {PLAIN: rows({0.0: (0.4, 0.8)}, energy=0.3), OURS: rows({0.5: (0.1, 0.8), 1.0: (0.3, 0.8)}, energy=0.7)}
    )
    chosen = {"resnet20": {"map_faithfulness": 0.25}, "digits": {"map_faithfulness": 0.5}}
    heading, *found = cells_of(table_across(across_boards({"resnet20": first, "digits": second}, chosen)))
    assert heading == [
        "",
        "CIFAR-100, 8 classes, ResNet-20",
        "DecoyDigits without decoy, ResNet-8",
        "step / plain step",
    ]
    default = "λ = 0.5: **+30.0 (+30.0 to +30.0)**<br>accuracy +0.0 (+0.0 to +0.0)"
    assert found == [
        ["CutMix", "**−5.0 (−5.0 to −5.0)**<br>accuracy **+2.0 (+2.0 to +2.0)**", "", "1.0"],
        [
            "MapFaithfulness",
            "λ = 0.25: **+10.0 (+10.0 to +10.0)**<br>accuracy +0.0 (+0.0 to +0.0)",
            default,
            "–",
        ],
        [
            "MapFaithfulness, default λ",
            "λ = 0.5: **+20.0 (+20.0 to +20.0)**<br>accuracy **−1.0 (−1.0 to −1.0)**",
            default,
            "–",
        ],
    ]


def test_the_figure_has_a_mark_for_each_change_and_fills_what_is_certain(rows, tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(
        "experiments.interval_figure.write_figure",
        lambda figure, path: figures.append(figure) or write_figure(figure, path),
    )
    noisy = rows({})
    for seed, drop in ((0, 0.2), (1, 0.45)):
        scores = {"evaluated/average_drop/grad_cam": drop, "evaluated/average_drop/shuffled_grad_cam": 0.5}
        noisy.add("test", [{WEIGHT: 0.0, "seed": seed, "test/accuracy": 0.82, **scores}])
    first = compared_settings({PLAIN: rows({0.0: (0.4, 0.8)}), CUTMIX: noisy, OURS: rows({0.5: (0.2, 0.8)})})
    second = compared_settings({PLAIN: rows({0.0: (0.4, 0.8)}), OURS: rows({0.5: (0.1, 0.8)})})
    chosen = {"map_faithfulness": 0.5}
    write_across(
        across_boards({"resnet20": first, "digits": second}, {"resnet20": chosen, "digits": chosen}), tmp_path / "all"
    )
    assert [path.name for path in tmp_path.glob("all*")] == ["all.png"]
    panels = figures[0].axes
    assert [label.get_text() for label in panels[0].get_yticklabels()] == [
        "CutMix",
        "MapFaithfulness",
        "MapFaithfulness, default λ",
    ]
    assert [len(panel.containers) for panel in panels] == [6, 4]
    gain, accuracy = (container.lines[0] for container in panels[0].containers[:2])
    # The mean of gains of 20 and −5 points; both seeds are 2 points more accurate, which is certain.
    assert [*gain.get_xdata(), *accuracy.get_xdata()] == pytest.approx([7.5, 2.0])
    assert (gain.get_markerfacecolor(), accuracy.get_markerfacecolor()) == ("white", accuracy.get_color())


def test_the_default_follows_the_choice_whichever_is_larger(rows):
    compared = compared_settings({PLAIN: rows({0.0: (0.4, 0.8)}), OURS: rows({0.5: (0.3, 0.8), 1.0: (0.2, 0.8)})})
    found = across_boards({"resnet20": compared}, {"resnet20": {"map_faithfulness": 1.0}})
    assert [*found] == ["MapFaithfulness", "MapFaithfulness, default λ"]
    assert [cells["resnet20"].compared.weight for cells in found.values()] == [1.0, 0.5]
    # Nothing was chosen yet: what is measured is the default.
    assert [*across_boards({"resnet20": compared}, {"resnet20": {"map_faithfulness": None}})] == [
        "MapFaithfulness, default λ"
    ]
