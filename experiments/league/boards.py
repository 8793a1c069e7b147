"""The data, networks and scores of the league."""

from __future__ import annotations

from dataclasses import replace

from camtrain.evaluation import EvaluationPlan, EvaluationSettings
from experiments.named_settings import Board

# Maps of Grad-CAM are trained. The other CAMs are not trained with, but are made at the same layer and resemble it.
TRAINED = "grad_cam"
KINDS = {
    "Grad-CAM": (TRAINED,),
    "other CAMs": ("grad_cam_plus_plus", "layer_cam", "ablation_cam"),
    "input gradient": ("input_gradient",),
}
METHODS = tuple(method for methods in KINDS.values() for method in methods)
FAITHFULNESS = ("average_drop", "average_increase", "average_gain", "insertion_auc", "deletion_auc", "road", "adcc")
LOCALIZATION = ("localization_iou_25", "energy_pointing_game", "energy_beyond_area")
_CHOOSING = ("average_drop", "average_increase", "average_gain", "insertion_auc", "deletion_auc", "map_leakage")
_STEPS = EvaluationSettings(num_steps=16)
_FEW_STEPS = EvaluationSettings(num_steps=8)
# The rows of resnet20 and mobilenet_v2 were scored by a version that evaluated neighbors together, which often show the
# same class; what is added to a board has to be scored as its other rows were.
_NEIGHBORS = replace(_STEPS, parts="given")
_QUIET = {
    "trainer.enable_progress_bar": False,
    "trainer.enable_model_summary": False,
    "cam_logger.num_images": 0,
    "faithfulness_scores.num_images": 0,
    "localization_scores.num_images": 0,
    "model.gradient_share_every_n_steps": 0,
}


_SCORED = EvaluationPlan(
    methods=METHODS, settings=_STEPS, batch_size=50, num_resamples=100, num_panel_maps=0, controls="shuffled"
)


def _validation(
    num_images: int, *, localization: bool = False, settings: EvaluationSettings = _STEPS
) -> EvaluationPlan:
    metrics = (*_CHOOSING, *(LOCALIZATION if localization else ()))
    return replace(_SCORED, methods=TRAINED, metrics=metrics, split="val", num_images=num_images, settings=settings)


def _test(num_images: int, *, localization: bool = False, settings: EvaluationSettings = _STEPS) -> EvaluationPlan:
    metrics = (*FAITHFULNESS, "map_leakage", "class_sensitivity", *(LOCALIZATION if localization else ()))
    return replace(_SCORED, metrics=metrics, num_images=num_images, settings=settings)


BOARDS = {
    board.name: board
    for board in (
        Board(
            "resnet20",
            "CIFAR-100, 8 classes, ResNet-20",
            "experiments/lambda_cifar100/resnet20.yaml",
            _validation(200, settings=_NEIGHBORS),
            _test(300, settings=_NEIGHBORS),
            _QUIET,
        ),
        Board(
            "mobilenet_v2",
            "CIFAR-100, 8 classes, small MobileNet-V2",
            "experiments/lambda_cifar100/mobilenet_v2.yaml",
            _validation(200, settings=_NEIGHBORS),
            _test(300, settings=_NEIGHBORS),
            _QUIET,
        ),
        Board(
            "pets",
            "three breeds of pets, EfficientNet-Lite0",
            "experiments/attention_pets/base.yaml",
            # A photograph takes as long as dozens of small images, so fewer are scored, in fewer steps.
            _validation(60, localization=True, settings=_FEW_STEPS),
            _test(40, localization=True, settings=_FEW_STEPS),
            _QUIET,
        ),
        Board(
            "digits",
            "DecoyDigits without decoy, ResNet-8",
            "configs/decoydigits_resnet8_map_faithfulness.yaml",
            _validation(200, localization=True),
            _test(300, localization=True),
            {**_QUIET, "data.init_args.decoy_strength": 0.0},
        ),
        # What a GPU would run: the same league on all classes of CIFAR-100, with the networks of the paper.
        Board(
            "resnet18",
            "CIFAR-100, 100 classes, ResNet-18",
            "configs/cifar100_resnet18_interpretable_gradient.yaml",
            _validation(1000),
            _test(2000),
            _QUIET,
        ),
    )
}
