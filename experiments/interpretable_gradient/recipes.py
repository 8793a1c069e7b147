"""The ways to train with the interpretable gradient loss that are compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from camtrain import ablate
from camtrain.report.points import WEIGHT
from experiments.league.boards import BOARDS, FAITHFULNESS
from experiments.league.settings import PLAIN, regularized
from experiments.named_settings import Board, Setting

WEIGHTS = (0.0, 0.3, 0.1, 1.0, 0.0075)  # in the order in which they are run
_RESNET = {"depth": 20, "width": 16, "num_classes": 8, "stem_stride": 2}


def _recipe(name: str, title: str, statistics: str = "batch", changes: Mapping[str, Any] | None = None) -> Setting:
    regularizer = regularized("InterpretableGradient", batch_norm_statistics=statistics)
    return Setting(name, {**regularizer, **(changes or {})}, WEIGHTS, title)


def _frozen_from(epoch: float) -> dict[str, Any]:
    path = "experiments.interpretable_gradient.frozen_batch_norm.FrozenBatchNorm"
    return {"trainer.callbacks": [{"class_path": path, "init_args": {"start_epoch": epoch}}]}


def _network(name: str, **settings: Any) -> dict[str, Any]:
    path = f"experiments.interpretable_gradient.group_norm_resnet.{name}"
    return {"model.network": {"class_path": path, "init_args": settings}}


def _beside(weight: float) -> Setting:
    """Both terms at once; λ of the interpretable gradient loss is in the name."""
    terms = [
        {"regularizer": _class("MapFaithfulness"), "weight": 0.5},
        {"regularizer": _class("InterpretableGradient", batch_norm_statistics="running"), "weight": weight},
    ]
    title = f"beside MapFaithfulness, λ = {weight:g}"
    return Setting(f"beside_map_faithfulness_{weight:g}", regularized("Sum", terms=terms), (1.0,), title)


def _class(name: str, **settings: Any) -> dict[str, Any]:
    return {"class_path": f"camtrain.regularizers.{name}", "init_args": settings}


_FINE_TUNING = {**_frozen_from(0.0), "model.optimizer.init_args.lr": 0.005, "trainer.max_epochs": 10}
BOARD: Board = replace(
    BOARDS["resnet20"],
    name="resnet20_gradients",
    # The last epoch is scored: the best epoch of a λ that costs accuracy is the one at which it has acted least.
    changes={**BOARDS["resnet20"].changes, "checkpoint.monitor": None},
    test=replace(
        BOARDS["resnet20"].test,
        methods=("grad_cam", "layer_cam", "input_gradient"),
        metrics=(*FAITHFULNESS, "map_leakage", "gradient_noise", "guided_agreement"),
        num_images=200,
    ),
)


def trained_plain(seed: int) -> Path:
    """The folder of a plain training, from which fine-tuning begins; it is trained if it is not there.

    Raises:
        SystemExit: If it failed, or was stopped before its end.
    """
    ablation = ablate(
        BOARD.config_of(PLAIN),
        {WEIGHT: [0.0]},
        seeds=[seed],
        folder=BOARD.runs / BOARD.name / "fine_tuning_begins" / f"seed_{seed}",
        evaluation=None,
        jobs=1,
        threads=1,
        wandb="disabled",
    )
    for outcome in ablation.unfinished:
        raise SystemExit(f"plain training, seed {seed}: {outcome.message or 'stopped before its end'} ({outcome.log})")
    return ablation.study.folder_of(ablation.study.trials[0])


RECIPES = {
    recipe.name: recipe
    for recipe in (
        _recipe("running", "running statistics", "running"),
        _recipe("group_norm", "GroupNorm", changes=_network("GroupNormResNet", **_RESNET)),
        _recipe(
            "frozen",
            "BatchNorm frozen and λ from half-time on",
            changes={**_frozen_from(12.5), "model.regularizer_start_epoch": 12.5},
        ),
        replace(
            _recipe("fine_tuning", "fine-tuning of the plain network, BatchNorm frozen", changes=_FINE_TUNING),
            of_seed=lambda seed: {"model.initial_weights": str(trained_plain(seed))},
        ),
        Setting("map_faithfulness", regularized("MapFaithfulness"), (0.5,), "MapFaithfulness alone"),
        _beside(0.1),
        _beside(0.3),
    )
}
