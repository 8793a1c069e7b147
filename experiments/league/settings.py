"""The ways to train that the league compares."""

from __future__ import annotations

from typing import Any

from experiments.named_settings import Setting


def augmented(class_path: str, **settings: Any) -> dict[str, Any]:
    """The changes for a callback that changes training batches.

    Args:
        class_path: Its class.
        **settings: Its arguments.
    """
    return {
        "model.regularizer": None,
        "trainer.callbacks": [{"class_path": class_path, "init_args": settings}],
    }


def regularized(name: str, **settings: Any) -> dict[str, Any]:
    """The changes for a regularizer of camtrain.

    Args:
        name: The name of its class.
        **settings: Its arguments.
    """
    return {"model.regularizer": {"class_path": f"camtrain.regularizers.{name}", "init_args": settings}}


def balanced(name: str, **settings: Any) -> dict[str, Any]:
    """The same, scaled so that λ = 1 makes the two terms of the loss equal at the start."""
    return {**regularized(name, **settings), "model.regularizer_balance_steps": 10}


def half_time(epochs: float) -> Setting:
    """MapFaithfulness begun halfway through a training, whose first half is then plain training.

    Args:
        epochs: The length of the training.
    """
    late = {**regularized("MapFaithfulness"), "model.regularizer_start_epoch": epochs / 2}
    return Setting("map_faithfulness_half_time", late, (0.25, 0.5, 1.0), "MapFaithfulness from half-time on")


_BCE = {"model.regularizer": None, "model.classification_loss": "binary_cross_entropy"}
PLAIN = Setting("plain", {"model.regularizer": None}, title="plain training")
# In the order in which they are run. λ is chosen from `weights` on validation images.
WITHOUT_ANNOTATION = [
    PLAIN,
    Setting("random_erasing", augmented("experiments.random_erasing.RandomErasing"), title="random erasing"),
    Setting("cutmix", augmented("camtrain.callbacks.CutMix", probability=0.5), title="CutMix"),
    Setting("binary_cross_entropy", _BCE, title="binary cross-entropy"),
    Setting("map_faithfulness", regularized("MapFaithfulness"), (0.25, 0.5, 1.0), "MapFaithfulness"),
    Setting("saliency_guided", regularized("SaliencyGuided"), (0.3, 1.0, 3.0), "SaliencyGuided"),
    Setting(
        "interpretable_gradient", regularized("InterpretableGradient"), (0.0075, 0.1, 0.3), "InterpretableGradient"
    ),
    Setting("attention_mining", regularized("AttentionMining"), (0.1, 0.3, 1.0), "AttentionMining"),
    Setting("gradient_norm", balanced("GradientNorm"), (0.03, 0.1, 0.3), "GradientNorm"),
    Setting("gradient_smoothness", balanced("GradientSmoothness"), (0.03, 0.1, 0.3), "GradientSmoothness"),
    Setting("map_consistency", balanced("MapConsistency", transform="crop"), (0.03, 0.1, 0.3), "MapConsistency"),
    Setting("map_smoothness", balanced("MapSmoothness"), (0.03, 0.1, 0.3), "MapSmoothness"),
    Setting("map_sparsity", balanced("MapSparsity"), (0.03, 0.1, 0.3), "MapSparsity"),
    Setting("expected_gradients", balanced("ExpectedGradientsPrior"), (0.03, 0.1, 0.3), "ExpectedGradientsPrior"),
    Setting(
        "soft_insertion_deletion", regularized("SoftInsertionDeletion"), (0.003, 0.01, 0.1), "SoftInsertionDeletion"
    ),
]
_INSIDE = {"annotation": "masks"}
_FAITHFUL_INSIDE = balanced(
    "Sum",
    terms=[
        {"regularizer": {"class_path": "camtrain.regularizers.MapFaithfulness"}, "weight": 0.5},
        {"regularizer": {"class_path": "camtrain.regularizers.EnergyInside", "init_args": _INSIDE}, "weight": 0.3},
    ],
)
# Only for boards whose images have masks.
WITH_MASKS = [
    Setting("energy_inside", balanced("EnergyInside", **_INSIDE), (0.1, 0.3, 1.0), "EnergyInside"),
    Setting("map_faithfulness_energy_inside", _FAITHFUL_INSIDE, (0.3, 1.0, 3.0), "MapFaithfulness + EnergyInside"),
    Setting("map_outside", balanced("MapOutside", **_INSIDE), (0.1, 0.3, 1.0), "MapOutside"),
    Setting("map_l1", balanced("MapL1", **_INSIDE), (0.1, 0.3, 1.0), "MapL1"),
    Setting("map_bce", balanced("MapBCE", **_INSIDE), (0.1, 0.3, 1.0), "MapBCE"),
    Setting("map_ranking", balanced("MapRanking", **_INSIDE), (0.1, 0.3, 1.0), "MapRanking (HINT)"),
    Setting(
        "right_for_right_reasons", balanced("RightForRightReasons", **_INSIDE), (0.03, 0.1, 0.3), "RightForRightReasons"
    ),
    Setting(
        "right_for_better_reasons",
        balanced("RightForBetterReasons", **_INSIDE),
        (0.03, 0.1, 0.3),
        "RightForBetterReasons",
    ),
]
