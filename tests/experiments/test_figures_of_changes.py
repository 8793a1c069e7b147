"""What the figures of the ablation and of the recipes show, against the comparisons they are made of."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from camtrain.report import Estimate
from experiments.interpretable_gradient import table as recipes
from experiments.map_faithfulness import table as ablation


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    found = {}

    def write(rows, panels, path):
        titles = [panel.title.replace("\n", " ") for panel in panels]
        found[path.name] = {
            line.replace("\n", " ").replace("\xa0", " "): dict(
                zip(titles, (cells[panel][""] for panel in panels), strict=True)
            )
            for line, cells in rows.items()
        }

    for module in (ablation, recipes):
        monkeypatch.setattr(module, "write_intervals", write)
    ablation.write_changes(ablation.compared("resnet20"), tmp_path / "variants")
    recipes.write_changes("resnet20", tmp_path / "recipes")
    return found


def test_a_line_for_each_variant(drawn):
    compared = ablation.compared("resnet20")
    assert [*drawn["variants"]] == [each.label for each in compared[1:]]
    for each in compared[1:]:
        against = each.against
        assert drawn["variants"][each.label] == {
            "gain of maps beyond control": against.beyond,
            "accuracy": against.accuracy,
            "leakage": against.leakage,
        }


def test_a_line_for_each_recipe_and_weight(drawn):
    (each,) = [each for each in recipes.compared("resnet20")["group_norm"] if each.weight == 0.3]
    assert drawn["recipes"]["GroupNorm, λ = 0.3"] == {
        "L_R in evaluation mode": recipes.loss_change(each),
        "gain of maps beyond control": each.against.beyond,
        "accuracy": each.against.accuracy,
    }


def test_a_loss_is_compared_seed_by_seed():
    runs = SimpleNamespace(rows={0: {"test/loss_regularizer": 0.5}, 1: {"test/loss_regularizer": 0.75}, 2: {}})
    baseline = SimpleNamespace(rows={seed: {"test/loss_regularizer": 1.0} for seed in (0, 1, 2, 3)})
    compared = SimpleNamespace(runs=runs, against=SimpleNamespace(baseline=baseline))
    assert recipes.loss_change(compared) == Estimate.of([-0.5, -0.25])
