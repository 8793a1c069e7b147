"""How the league chooses λ, and what its controls and the recipes of other experiments do to a training."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from camtrain.batch import Batch
from camtrain.networks import CIFARResNet, build_network
from experiments.interpretable_gradient import directions
from experiments.interpretable_gradient.frozen_batch_norm import FrozenBatchNorm
from experiments.interpretable_gradient.group_norm import with_group_norm
from experiments.interpretable_gradient.recipes import recipes
from experiments.league.boards import BOARDS
from experiments.league.league import CHOOSING_SEEDS, choice, chosen_weight, rows_of, settings_of
from experiments.map_faithfulness import ablation
from experiments.named_settings import Setting, SettingRows
from experiments.random_erasing import RandomErasing
from experiments.result_rows import read_rows, write_rows
from experiments.study_results import points_in

WEIGHT = "model.regularizer_weight"
PLAIN = {0.0: (0.5, 0.5, 0.8, 0.05)}
# λ with drop, another image's drop, accuracy and leakage on validation images.
BEYOND = (0.4, 0.45, 0.785, 0.05)  # gains 5 points beyond control, and loses 1.5 points of accuracy
ROBUST = (0.2, 0.15, 0.79, 0.05)  # gains most, and another image's map gains more
INACCURATE = (0.1, 0.5, 0.77, 0.05)  # loses 3 points of accuracy
LEAKING = (0.1, 0.5, 0.8, 0.09)  # leaks 4 points more


@pytest.fixture
def rows(tmp_path):
    def made(scores):
        found = SettingRows(tmp_path / f"{len(list(tmp_path.iterdir()))}.csv")
        columns = ("average_drop/grad_cam", "average_drop/shuffled_grad_cam", None, "map_leakage/grad_cam")
        for weight, values in scores.items():
            named = {
                f"evaluated/{column}" if column else "val/accuracy": value
                for column, value in zip(columns, values, strict=True)
            }
            found.add("val", [{WEIGHT: weight, "seed": 0, **named}])
        return found

    return made


def test_lambda_gains_most_beyond_control_within_both_margins(rows):
    given = {0.1: (0.45, 0.48, 0.8, 0.05), 0.25: BEYOND, 0.5: ROBUST, 1.0: INACCURATE, 2.0: LEAKING}
    assert chosen_weight(rows(given), rows(PLAIN)) == 0.25
    with pytest.raises(SystemExit, match="run the setting plain first"):
        chosen_weight(rows(given), rows({}))


def test_where_nothing_gains_lambda_has_the_highest_accuracy(rows):
    assert chosen_weight(rows({0.25: ROBUST, 1.0: INACCURATE, 2.0: LEAKING}), rows(PLAIN)) == 2.0


def test_all_that_the_choice_needs_is_scored_on_validation_images():
    for board in BOARDS.values():
        assert {"average_drop", "map_leakage"} <= {*board.validation.metrics}
        assert (board.validation.controls, board.validation.split) == (("shuffled",), "val")


@pytest.mark.parametrize("board", [name for name in BOARDS if rows_of(name, "plain").weights("val")])
def test_the_chosen_lambda_of_every_board_is_tested(board):
    """What the README shows is what the rule chooses from the rows that are committed."""
    for setting in settings_of(board):
        if len(setting.weights) > 1 and (weight := choice(board, setting)) is not None:
            assert {*CHOOSING_SEEDS} <= {*rows_of(board, setting.name).of("test", weight)}, setting.name


def test_lambda_is_chosen_once_all_its_values_were_tried(rows, monkeypatch):
    setting = Setting("ours", {}, (0.25, 1.0))
    files = {"plain": rows(PLAIN), "ours": rows({0.25: BEYOND})}
    monkeypatch.setattr("experiments.league.league.rows_of", lambda board, name: files[name])
    assert choice("resnet20", setting) is None
    files["ours"] = rows({0.25: BEYOND, 1.0: INACCURATE})
    assert choice("resnet20", setting) == 0.25


def test_each_variant_of_the_ablation_changes_what_its_name_says():
    made = {each.name: each for each in ablation.variants(24)}

    def settings(name):
        return made[name].changes["model.regularizer"]["init_args"]

    assert settings(ablation.BASE) == settings("weight_1") == settings("every_4") == {}
    assert [settings(name) for name in ("not_swapped", "all_swapped")] == [{"swapped": 0.0}, {"swapped": 1.0}]
    assert [settings(name) for name in ("sufficiency", "necessity")] == [
        {"necessity_weight": 0.0}, {"sufficiency_weight": 0.0}
    ]  # fmt: skip
    assert settings("robustness") == {"necessity_weight": 0.0, "swapped": 1.0}
    assert settings("prediction") == {"sufficiency_target": "prediction"}
    assert settings("differentiable") == {"differentiable": True}
    assert settings("differentiable_all_swapped") == {"differentiable": True, "swapped": 1.0}
    assert [settings(name) for name in ("thresholds", "soft_masks")] == [{"soft_masks": 0.0}, {"soft_masks": 1.0}]
    assert [settings(name)["blurred_backgrounds"] for name in ("zeros", "blurred")] == [0, 1]
    assert settings("layer_cam") == {"method": "layer_cam"}
    assert made["every_4"].changes["model.regularizer_every_n_steps"] == 4
    assert {each.weights for name, each in made.items() if name not in ("plain", "weight_1")} == {(0.5,)}
    assert made["weight_1"].weights == (1.0,)


def test_random_erasing_hides_a_rectangle_of_half_of_the_images():
    torch.manual_seed(0)
    batch = Batch(torch.ones(400, 3, 16, 16))
    RandomErasing().on_train_batch_start(None, None, batch, 0)
    erased = (batch.images == 0).all(dim=1)
    assert float(erased.flatten(1).any(dim=1).float().mean()) == pytest.approx(0.5, abs=0.08)
    assert torch.equal(batch.images, 1 - erased.unsqueeze(1).float().expand_as(batch.images))
    for each in erased[erased.flatten(1).any(dim=1)]:
        rows, columns = each.any(dim=1), each.any(dim=0)
        assert torch.equal(each, rows[:, None] & columns)


@pytest.mark.parametrize(("epoch", "batch", "frozen"), [(12, 4, False), (12, 5, True), (13, 0, True)])
def test_batch_norm_is_frozen_from_its_start_on(epoch, batch, frozen):
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout()).train()
    trainer = SimpleNamespace(current_epoch=epoch, num_training_batches=10)
    FrozenBatchNorm(12.5).on_train_batch_start(trainer, module, None, batch)
    assert [each.training for each in module] == [True, not frozen, True]


def test_group_norm_takes_the_place_of_every_batch_norm():
    layers = [*with_group_norm(CIFARResNet(depth=8, width=16)).modules()]
    assert not any(isinstance(each, nn.BatchNorm2d) for each in layers)
    groups = [each for each in layers if isinstance(each, nn.GroupNorm)]
    assert len(groups) == 9  # of the stem, of two layers in each of three blocks, and of two shortcuts
    assert all(each.num_channels // each.num_groups == 8 for each in groups)


def test_group_norm_takes_the_network_of_a_board_that_names_it():
    changes = recipes("resnet18")["group_norm"].changes
    given = changes["model.network"]["init_args"]["network"]
    network = with_group_norm(build_network(**given["init_args"]))
    assert not any(isinstance(each, nn.BatchNorm2d) for each in network.modules())
    assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 100)
    assert changes["model.stem"] == "imagenet"  # a stem is refused with a network that has no name


def test_recipes_keep_to_the_schedule_of_their_board():
    frozen, tuned = (recipes("resnet20")[name].changes for name in ("frozen", "fine_tuning"))
    assert frozen["model.regularizer_start_epoch"] == 12.5  # of 25
    assert frozen["trainer.callbacks"][0]["init_args"] == {"start_epoch": 12.5}
    assert (tuned["trainer.max_epochs"], tuned["model.optimizer.init_args.lr"]) == (10, 0.005)
    assert recipes("resnet18")["fine_tuning"].changes["trainer.max_epochs"] == 80
    assert recipes("resnet18")["fine_tuning"].changes["model.lr_scheduler"]["class_path"].endswith("CosineAnnealingLR")
    assert recipes("resnet18")["frozen"].changes["model.regularizer_start_epoch"] == 100


def test_points_of_a_grid_over_something_else_too_are_not_mixed(tmp_path):
    path = tmp_path / "results.csv"
    path.write_text(f"{WEIGHT},seed,test/accuracy\n0,0,0.5\n0,1,0.6\n0,0,0.7\n")
    with pytest.raises(ValueError, match="expected one row for each λ and seed, got several for λ = 0, seed 0"):
        points_in(path)


def test_directions_of_networks_that_are_not_here_stay(tmp_path, monkeypatch):
    kept = {"recipe": "frozen", "weight": "0.3", "seed": "0", "agreement": "0.5"}
    again = {"recipe": "running", "weight": "0.3", "seed": "1", "agreement": "0.5"}
    path = tmp_path / "resnet20" / "directions.csv"
    write_rows(path, directions.COLUMNS, [kept, again])
    trial = tmp_path / "runs/resnet20_gradients/running/weight_0.3/trials/regularizer_weight=0.3,seed=1-aaf4ffaa"
    trial.mkdir(parents=True)
    (trial / "row.json").touch()
    monkeypatch.setattr(directions, "HERE", tmp_path)
    here = {name: replace(board, runs=tmp_path / "runs") for name, board in directions.BOARDS.items()}
    monkeypatch.setattr(directions, "BOARDS", here)
    monkeypatch.setattr(directions, "of_run", lambda _run: ("0.9", "0.8", "0.7"))
    directions.measure("resnet20")
    found = [(row["recipe"], row["seed"], row["agreement"]) for row in read_rows(path)]
    assert found == [("running", "1", "0.9"), ("frozen", "0", "0.5")]
