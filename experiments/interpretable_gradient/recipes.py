"""The ways to train with the interpretable gradient loss that are compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from experiments.league.boards import BOARDS as LEAGUE
from experiments.league.boards import FAITHFULNESS
from experiments.league.settings import PLAIN, regularized
from experiments.named_settings import Board, Setting, trained

WEIGHTS = (0.0, 0.3, 0.1, 1.0, 0.0075)  # in the order in which they are run
NUM_IMAGES = {"resnet20": 200, "resnet18": 1000}  # the test images whose maps are scored, on each board


def _board(name: str) -> Board:
    """A board of the league, with the scores of this experiment."""
    board = LEAGUE[name]
    return replace(
        board,
        name=f"{name}_gradients",
        # The last epoch is scored: the best epoch of a λ that costs accuracy is the one at which it has acted least.
        changes={**board.changes, "checkpoint.monitor": None},
        test=replace(
            board.test,
            methods=("grad_cam", "layer_cam", "input_gradient"),
            metrics=(*FAITHFULNESS, "map_leakage", "gradient_noise", "guided_agreement"),
            num_images=NUM_IMAGES[name],
        ),
    )


BOARDS = {name: _board(name) for name in NUM_IMAGES}


def recipes(board: str) -> dict[str, Setting]:
    """The recipes on a board, by name.

    Args:
        board: The name of the board in the league.
    """
    config = BOARDS[board].config_of(PLAIN)
    epochs, rate = config["trainer"]["max_epochs"], config["model"]["optimizer"]["init_args"]["lr"]
    late = {**_frozen_from(epochs / 2), "model.regularizer_start_epoch": epochs / 2}
    cosine = {
        "class_path": "torch.optim.lr_scheduler.CosineAnnealingLR",
        "init_args": {"T_max": "${....trainer.max_epochs}"},
    }
    fine_tuning = {
        **_frozen_from(0.0),
        "model.optimizer.init_args.lr": rate / 10,
        "model.lr_scheduler": cosine,
        "trainer.max_epochs": round(0.4 * epochs),
    }
    made = (
        _recipe("running", "running statistics", "running"),
        _recipe("group_norm", "GroupNorm", changes=_group_norm(config["model"])),
        _recipe("frozen", "BatchNorm frozen and λ from half-time on", changes=late),
        replace(
            _recipe("fine_tuning", "fine-tuning of the plain network, BatchNorm frozen", changes=fine_tuning),
            of_seed=partial(_initial_weights, BOARDS[board]),
        ),
        Setting("map_faithfulness", regularized("MapFaithfulness"), (0.5,), "MapFaithfulness alone"),
        _beside(0.1),
        _beside(0.3),
    )
    return {recipe.name: recipe for recipe in made}


def _recipe(name: str, title: str, statistics: str = "batch", changes: Mapping[str, Any] | None = None) -> Setting:
    regularizer = regularized("InterpretableGradient", batch_norm_statistics=statistics)
    return Setting(name, {**regularizer, **(changes or {})}, WEIGHTS, title)


def _frozen_from(epoch: float) -> dict[str, Any]:
    path = "experiments.interpretable_gradient.frozen_batch_norm.FrozenBatchNorm"
    return {"trainer.callbacks": [{"class_path": path, "init_args": {"start_epoch": epoch}}]}


def _group_norm(model: Mapping[str, Any]) -> dict[str, Any]:
    """The network of a configuration, with GroupNorm."""
    network, changes = model["network"], {}
    if isinstance(network, str):
        # 100: all boards that name their network have all classes of CIFAR-100.
        of_name = {"name": network, "stem": model["stem"], "num_classes": 100}
        network = {"class_path": "camtrain.networks.build_network", "init_args": of_name}
        changes["model.stem"] = "imagenet"  # the default: the key is for a network that is given by its name
    path = "experiments.interpretable_gradient.group_norm.with_group_norm"
    return {"model.network": {"class_path": path, "init_args": {"network": network}}, **changes}


def _beside(weight: float) -> Setting:
    """Both terms at once; λ of the interpretable gradient loss is in the name."""
    terms = [
        {"regularizer": _class("MapFaithfulness"), "weight": 0.5},
        {"regularizer": _class("InterpretableGradient", batch_norm_statistics="running"), "weight": weight},
    ]
    title = f"0.5 MapFaithfulness + {weight:g} InterpretableGradient"
    return Setting(f"beside_map_faithfulness_{weight:g}", regularized("Sum", terms=terms), (1.0,), title)


def _class(name: str, **settings: Any) -> dict[str, Any]:
    return {"class_path": f"camtrain.regularizers.{name}", "init_args": settings}


def _initial_weights(board: Board, seed: int) -> dict[str, Any]:
    """The weights of a plain training of the same seed."""
    folder = board.runs / board.name / "fine_tuning_begins" / f"seed_{seed}"
    return {"model.initial_weights": str(trained(board, PLAIN, 0.0, seed, folder))}
