"""Calls of the public Python functions with one wrong argument each."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

import camtrain
from camtrain import attributions, callbacks, cams, data, gradients, metrics, regularizers
from camtrain.evaluation import EvaluationPlan, EvaluationSettings
from camtrain.methods import METHODS
from camtrain.networks import CIFARResNet
from camtrain.report import Rule
from experiments.reliability.wrong_values import (
    Domain,
    Wrong,
    classes,
    given,
    integers,
    numbers,
    objects,
    one_of,
    several_of,
    tensors,
    wrong,
)

NUM_CLASSES = 3
SIZE = 16
LAYERS = ("conv1", "layer1", "layer2", "layer3", "layer1.0.conv1")
METRIC_NAMES = tuple(name for name, spec in camtrain.METRICS.items() if not spec.of_label)

_ROOT = Path(__file__).parents[2]  # where the harness is; no part of a case's name


@dataclass(frozen=True)
class WrongCall:
    """A call with one wrong argument.

    Attributes:
        target: What is called.
        argument: The argument that is wrong.
        wrong: Its value.
        body: Makes the call.
    """

    target: str
    argument: str
    wrong: Wrong
    body: Callable[[], object]

    @property
    def name(self) -> str:
        """The name of the case."""
        return f"{self.target}: {self.argument} = {self.wrong.shown}".replace(f"{_ROOT}/", "")


@dataclass(frozen=True)
class Target:
    """A function, its right arguments, and what its wrong ones are.

    Attributes:
        name: The name of the function.
        call: The function; what it returns is used, where it does nothing before.
        right: Makes the arguments that are needed.
        domains: The wrong values by argument.
    """

    name: str
    call: Callable[..., object]
    right: Callable[[], Mapping[str, Any]]
    domains: Mapping[str, Domain]

    def wrong_calls(self, draw: random.Random) -> Iterator[WrongCall]:
        """All calls with one wrong argument."""
        for argument, domain in self.domains.items():
            for value in domain(draw):
                yield WrongCall(self.name, argument, value, partial(self._called, argument, value))

    def _called(self, argument: str, value: Wrong) -> None:
        torch.manual_seed(0)
        self.call(**{**self.right(), argument: value.make()})


def wrong_calls(seed: int, folder: Path) -> list[WrongCall]:
    """Calls of all public functions with wrong arguments.

    Args:
        seed: What can be drawn depends on it.
        folder: A folder with a run (`run/runs/small/version_0`), as `Workplace` makes it, and with images.
    """
    draw = random.Random(seed)
    return [call for target in targets(folder) for call in target.wrong_calls(draw)]


def network() -> CIFARResNet:
    """A small network of three classes."""
    torch.manual_seed(0)
    return CIFARResNet(depth=8, num_classes=NUM_CLASSES, width=4)


def images(count: int = 4) -> torch.Tensor:
    """Some images."""
    return torch.rand(count, 3, SIZE, SIZE)


def labels(count: int = 4) -> torch.Tensor:
    """Their labels."""
    return torch.arange(count) % NUM_CLASSES


def masks(count: int = 4) -> torch.Tensor:
    """Their objects: the upper left quarter."""
    made = torch.zeros(count, SIZE, SIZE, dtype=torch.bool)
    made[:, : SIZE // 2, : SIZE // 2] = True
    return made


def boxes(count: int = 4) -> list[torch.Tensor]:
    """The same as boxes."""
    return [torch.tensor([[0.0, 0.0, SIZE / 2, SIZE / 2]]) for _ in range(count)]


def targets(folder: Path) -> list[Target]:
    """All functions with their domains."""
    return [
        *_training(),
        *_regularizers(),
        *_engines(),
        *_maps(),
        *_metrics(),
        *_evaluation(),
        *_data_and_callbacks(),
        *_commands_as_functions(folder),
    ]


WHOLE = given((2.5, "not an integer"), (float("nan"), "not a number"), ("seven", "text"), (float("inf"), "infinite"))
# How many channels images have is the network's affair.
IMAGES = tensors((4, 3, SIZE, SIZE))
LABELS = tensors((4,), floating=False, low=0, high=NUM_CLASSES - 1, fixed=(0,))
REGIONS = tensors((4, SIZE, SIZE), floating=False, fixed=(0, 1))


def _boxes(draw: random.Random) -> Iterator[Wrong]:
    nan = float("nan")
    listed: list[tuple[str, Callable[[], Any], str]] = [
        ("one box too few", lambda: boxes(3), "one image has none"),
        ("five columns", lambda: [torch.rand(1, 5)] * 4, "a box has four numbers"),
        ("one dimension", lambda: [torch.rand(4)] * 4, "not (M, 4)"),
        ("corners exchanged", lambda: [torch.tensor([[8.0, 8.0, 2.0, 2.0]])] * 4, "x2 < x1 and y2 < y1"),
        ("NaN", lambda: [torch.tensor([[0.0, 0.0, nan, 4.0]])] * 4, "NaN"),
        ("text", lambda: "0 0 4 4", "text instead of a list"),
        ("outside", lambda: [torch.tensor([[100.0, 100.0, 110.0, 110.0]])] * 4, "outside the image"),
        ("lists", lambda: [[[0, 0, 4, 4]]] * 4, "lists instead of tensors"),
    ]
    for shown, make, why in listed:
        yield Wrong(shown, make, why, in_words=False)


def _class_index(draw: random.Random) -> Iterator[Wrong]:
    yield wrong(NUM_CLASSES + draw.randrange(100), f"there are {NUM_CLASSES} classes")
    yield wrong(-1 - draw.randrange(100), "negative")
    yield wrong(1.5, "not an integer")
    yield wrong("cat", "a name, where there are none")
    yield wrong([0, 1, 2, 0], "a list instead of a tensor")
    yield Wrong("a tensor of 2", lambda: torch.tensor([0, 1]), "for two of four images")
    yield Wrong("a float tensor", lambda: torch.zeros(4), "floating point")
    yield Wrong("a tensor with 99", lambda: torch.tensor([0, 1, 99, 0]), "one of them is no class")


TRIPLE = given(
    ((0.5, 0.5), "two numbers"),
    ((0.5, 0.5, float("nan")), "NaN"),
    (("a", "b", "c"), "text"),
    (0.5, "no sequence"),
    ((0.5, 0.5, float("inf")), "infinity"),
)
LAYER: Domain = one_of(LAYERS, none=True)


def _training() -> Iterator[Target]:
    def objective(**arguments: Any) -> None:
        called = {name: arguments.pop(name) for name in ("network", "images", "labels", "boxes", "masks")}
        camtrain.Objective(**arguments)(**called).loss.backward()

    def right() -> dict[str, Any]:
        made = {"network": network(), "images": images(), "labels": labels(), "boxes": None, "masks": masks()}
        return {**made, "regularizer": regularizers.EnergyInside(target_layer="layer3"), "weight": 0.1}

    of_objective: dict[str, Domain] = {
        "regularizer": objects("a regularizer"),
        "weight": numbers(0, none=True),
        "engine": objects("an engine"),
        "label_smoothing": numbers(0, 1),
        "every_n_steps": integers(1),
        "balance_steps": integers(0),
        "classification_loss": one_of(["cross_entropy", "binary_cross_entropy", "focal"]),
        "network": objects("a network"),
        "images": IMAGES,
        "labels": LABELS,
        "boxes": _boxes,
        "masks": REGIONS,
    }
    # No masks at all is a right call of a regularizer that takes boxes or masks: it says that it has neither.
    yield Target("Objective", objective, right, of_objective)

    def classifier(**arguments: Any) -> None:
        made = camtrain.Classifier(**arguments)
        made(images())

    of_classifier: dict[str, Domain] = {
        "network": one_of(["resnet18", "cifar_resnet8", "mobilenet_v2"]),
        "num_classes": integers(1),
        "stem": one_of(["imagenet", "small"]),
        "weights": one_of(["DEFAULT"], none=True),
        "initial_weights": given(("no/such.ckpt", "no such file"), ("", "empty"), (7, "a number")),
        "regularizer": objects("a regularizer"),
        "regularizer_weight": numbers(0, none=True),
        "regularizer_start_epoch": numbers(0),
        "regularizer_warmup_epochs": numbers(0),
        "regularizer_every_n_steps": integers(1),
        "regularizer_balance_steps": integers(0),
        "engine": objects("an engine"),
        "optimizer": given((7, "no function"), ("SGD", "text"), (None, "nothing")),
        "head_learning_rate": numbers(0, none=True),
        "lr_scheduler_interval": one_of(["epoch", "step"]),
        "classification_loss": one_of(["cross_entropy", "binary_cross_entropy", "focal"]),
        "label_smoothing": numbers(0, 1),
        "gradient_share_every_n_steps": integers(0),
    }
    needed = {"network": "cifar_resnet8", "num_classes": NUM_CLASSES}
    yield Target(
        "Classifier", classifier, lambda: {**needed, "regularizer": regularizers.GradientNorm()}, of_classifier
    )
    of_network: dict[str, Domain] = {
        "depth": given((9, "not 6n + 2"), (-4, "negative"), (0, "zero"), ("8", "text"), (8.5, "not an integer")),
        "num_classes": integers(1),
        "width": integers(1),
        "stem_stride": integers(1),
    }
    yield Target("CIFARResNet", CIFARResNet, lambda: {"depth": 8}, of_network)


_POSITIVE, _FRACTION = numbers(0, low_is_in=False), numbers(0, 1)
_RANGE = given(
    ((0.9, 0.1), "from high to low"),
    ((0.1, 1.5), "above 1"),
    ((-0.1, 0.5), "below 0"),
    ((0.1,), "one number"),
    ((0.1, float("nan")), "NaN"),
    (0.5, "no range"),
    ("0.1,0.9", "text"),
)
OF_REGULARIZERS: dict[str, Domain] = {
    "method": one_of([name for name in METHODS if name.endswith("cam")]),
    "target_layer": LAYER,
    "teacher_layer": LAYER,
    "annotation": one_of(["any", "boxes", "masks"]),
    "class_of": one_of(["label", "prediction"]),
    "batch_norm_statistics": one_of(["batch", "running"]),
    "distance": one_of(["cosine", "mae", "mse", "histogram_intersection"]),
    "explained": one_of(["log_probabilities", "loss"]),
    "prior": one_of(["smooth", "outside"]),
    "transform": one_of(["flip", "crop", "flip_crop"]),
    "background": one_of(["zeros", "blurred"]),
    "deletion": one_of(["ratio", "complement"]),
    "sufficiency_target": one_of(["label", "prediction"]),
    "floor": _POSITIVE,
    "sharpness": _POSITIVE,
    "temperature": _POSITIVE,
    "threshold": _FRACTION,
    "smallest_crop": numbers(0, 1, low_is_in=False),
    "share": numbers(0, 1, low_is_in=False, high_is_in=False),
    "largest_fraction": numbers(0, 1, low_is_in=False),
    "swapped": _FRACTION,
    "soft_masks": _FRACTION,
    "blurred_backgrounds": _FRACTION,
    "sufficiency_fractions": _RANGE,
    "necessity_fractions": _RANGE,
    "sufficiency_weight": numbers(0),
    "necessity_weight": numbers(0),
    "insertion_weight": numbers(0),
    "deletion_weight": numbers(0),
    "mask_weight": numbers(0),
    "num_samples": integers(1),
    "num_thresholds": integers(1),
    "grid": integers(2),
    "teacher": objects("a network"),
    "checkpoint": given(("no/such.ckpt", "no such file"), (7, "a number")),
    "terms": given(([], "no term"), (None, "nothing"), ("terms", "text"), ([3], "a number among terms")),
}


def _regularizers() -> Iterator[Target]:
    kinds = [getattr(regularizers, name) for name in regularizers.__all__]
    abstract = ("Regularizer", "InputGradientRegularizer", "PassRegularizer", "CAMRegularizer", "MapRegularizer")
    needs = {
        "MapDistillation": lambda: {"teacher": network()},
        "Sum": lambda: {"terms": [regularizers.Term(regularizers.GradientNorm(), 0.1)]},
    }
    for kind in kinds:
        is_regularizer = inspect.isclass(kind) and issubclass(kind, regularizers.Regularizer)
        if not is_regularizer or kind.__name__ in (*abstract, "AttentionBranchLoss"):
            continue
        parameters = inspect.signature(kind).parameters
        domains = {name: OF_REGULARIZERS[name] for name in parameters if name in OF_REGULARIZERS}

        def step(kind: Any = kind, **arguments: Any) -> None:
            made = camtrain.Objective(kind(**arguments), 0.1)
            made(network(), images(), labels(), masks=masks()).loss.backward()

        yield Target(kind.__name__, step, needs.get(kind.__name__, dict), domains)
    of_term: dict[str, Domain] = {
        "regularizer": objects("a regularizer"),
        "weight": numbers(0, none=True),
        "name": given(("", "empty"), (7, "a number"), ("a/b", "a slash, which parts log keys")),
        "start_epoch": numbers(0),
        "warmup_epochs": numbers(0),
        "end_epoch": numbers(0, none=True),
    }

    def term(**arguments: Any) -> None:
        made = camtrain.Objective(regularizers.Sum([regularizers.Term(**arguments)]), 1.0)
        made.epoch = 0.5
        made(network(), images(), labels()).loss.backward()

    yield Target("Term", term, lambda: {"regularizer": regularizers.GradientNorm()}, of_term)


def _engines() -> Iterator[Target]:
    def frozen(**arguments: Any) -> None:
        engine = gradients.FrozenGates(**arguments)
        camtrain.Objective(regularizers.GradientNorm(), 0.1, engine)(network(), images(), labels()).loss.backward()

    domains: dict[str, Domain] = {
        "one_term_limit": given(
            (-1.0, "negative"), (float("nan"), "not a number"), ("small", "text"), (None, "nothing")
        ),
        "step": numbers(0, low_is_in=False, none=True),
        "longest": given((-1.0, "negative"), (0, "zero"), (float("nan"), "not a number"), ("long", "text")),
    }
    yield Target("FrozenGates", frozen, dict, domains)


OF_MAPS: dict[str, Domain] = {
    "network": objects("a network"),
    "target_layer": LAYER,
    "num_samples": integers(1),
    "noise_level": numbers(0),
    "noise_std": numbers(0),
    "gamma": _POSITIVE,
    "max_batch": integers(1),
    "num_channels": integers(1, none=True),
    "variant": one_of(["class_probability", "algorithm_1"]),
    "noise_on": one_of(["activation", "input"]),
    "score": one_of(["probability", "log_probability", "logit"]),
    "statistic": one_of(["mean", "square", "variance"]),
    "num_steps": integers(1),
    "max_steps": integers(1),
    "tolerance": numbers(0, none=True),
    "baseline": given(
        ("black", "text"), (float("nan"), "not a number"), ([0.0], "one number of three"), (None, "nothing")
    ),
    "seed": WHOLE,
}


def _maps() -> Iterator[Target]:
    kinds = [getattr(module, name) for module in (cams, attributions) for name in module.__all__]
    bases = ("BaseCAM", "GradientCAM", "PerturbationCAM", "BaseAttribution", "AttentionMap", "CAM")
    for kind in kinds:
        if (
            not inspect.isclass(kind)
            or kind.__name__ in bases
            or not issubclass(kind, (cams.BaseCAM, attributions.BaseAttribution))
        ):
            continue
        parameters = inspect.signature(kind).parameters
        domains = {name: OF_MAPS[name] for name in parameters if name in OF_MAPS}
        domains |= {"images": _map_images, "class_idx": _class_index}

        def made(kind: Any = kind, images: Any = None, class_idx: Any = None, **arguments: Any) -> None:
            kind(**arguments)(images, class_idx)

        quick = {name: 2 for name in ("num_samples", "num_steps") if name in parameters}
        quick |= {"tolerance": None} if "tolerance" in parameters else {}

        def right(quick: Any = quick) -> dict[str, Any]:
            return {"network": network(), "images": images(), **quick}

        yield Target(kind.__name__, made, right, domains)
    of_image_maps: dict[str, Domain] = {
        "network": objects("a network"),
        "images": _map_images,
        "method": one_of(list(METHODS)),
        "class_idx": _class_index,
        "target_layer": LAYER,
        "reduction": one_of(["max", "sum"], none=True),
        "max_batch": integers(1),
    }
    yield Target("image_maps", camtrain.image_maps, lambda: {"network": network(), "images": images()}, of_image_maps)
    of_overlay: dict[str, Domain] = {
        # (1, 3, H, W) is a batch, which takes maps of another shape.
        "image": _without(tensors((3, SIZE, SIZE), fixed=(0,)), "one dimension more"),
        "cam": tensors((SIZE, SIZE), low=0, high=1),
        "colormap": one_of(["turbo", "viridis", "magma"]),
        "opacity": _FRACTION,
    }
    yield Target("overlay", camtrain.overlay, lambda: {"image": images()[0], "cam": torch.rand(SIZE, SIZE)}, of_overlay)


# A map of an image that is not finite is not finite either, and the caller may do with it as he likes.
_map_images = tensors((4, 3, SIZE, SIZE), finite=False)


def _metrics() -> Iterator[Target]:
    # Most scores compare or rank maps of any scale.
    maps = tensors((4, SIZE, SIZE), fixed=(0, 1))
    probabilities = tensors((4,), low=0, high=1, fixed=(0,))
    curves = tensors((4, 5))
    right: dict[str, Callable[[], Any]] = {
        **dict.fromkeys(
            ("cams", "other_cams", "masked_cams", "cam", "first", "second"), lambda: torch.rand(4, SIZE, SIZE)
        ),
        **dict.fromkeys(
            ("probabilities", "masked_probabilities", "coherencies", "complexities", "drops"), lambda: torch.rand(4)
        ),
        **dict.fromkeys(("content_probabilities", "masked_content_probabilities"), lambda: torch.rand(4, 3)),
        "regions": masks,
        "curves": lambda: torch.rand(4, 5),
        **dict.fromkeys(("most_relevant_first", "least_relevant_first"), lambda: torch.rand(4, 5)),
        "compared_probabilities": lambda: torch.rand(4, 2),
        **dict.fromkeys(("input_gradients", "guided_gradients"), lambda: torch.rand(4, 3, SIZE, SIZE)),
    }
    domains: dict[str, Domain] = {
        **dict.fromkeys(("cams", "other_cams", "masked_cams", "first", "second"), maps),
        **dict.fromkeys(
            ("probabilities", "masked_probabilities", "coherencies", "complexities", "drops"), probabilities
        ),
        **dict.fromkeys(
            ("content_probabilities", "masked_content_probabilities"),
            # NaN says that an image has no such content.
            tensors((4, 3), low=0, high=1, fixed=(0,), finite=False),
        ),
        "regions": REGIONS,
        "curves": curves,
        **dict.fromkeys(("most_relevant_first", "least_relevant_first"), curves),
        # NaN says that a method has no map.
        "compared_probabilities": tensors((4, 2), low=0, high=1, fixed=(0,), finite=False),
        **dict.fromkeys(("input_gradients", "guided_gradients"), tensors((4, 3, SIZE, SIZE), fixed=(0,))),
        "kind": one_of(["spearman", "ssim", "pearson"]),
        "threshold": _FRACTION,
        "tolerance": numbers(0, none=True),
        "floor": _POSITIVE,
    }
    names = (
        "adcc",
        "area_under_curve",
        "class_sensitivity",
        "coherency",
        "complexity",
        "drop",
        "energy_in_region",
        "gain",
        "gradient_noise",
        "guided_agreement",
        "increase",
        "localization_iou",
        "map_leakage",
        "map_similarity",
        "pointing_hits",
        "road",
        "wins",
    )
    of_maps = {"localization_iou": (0.0, 1.0), "complexity": (0.0, 1.0), "energy_in_region": (0.0, None)}
    # Alone in their arguments, they have nothing to agree with in the number of images.
    alone = {
        "area_under_curve": {"curves": _without(tensors((4, 5)), "one dimension less", "one dimension more")},
        "complexity": {"cams": tensors((4, SIZE, SIZE), low=0, high=1)},
        "gradient_noise": {"input_gradients": tensors((4, 3, SIZE, SIZE))},
    }
    for name in names:
        function = getattr(metrics, name)
        parameters = inspect.signature(function).parameters
        own = {each: domains[each] for each in parameters if each in domains}
        if name in of_maps:
            low, high = of_maps[name]
            own["cams"] = tensors((4, SIZE, SIZE), fixed=(0, 1), low=low, high=high)
        own |= alone.get(name, {})
        needed = {each: right[each] for each in parameters if each in right}

        def arguments(needed: Any = needed) -> dict[str, Any]:
            return {each: make() for each, make in needed.items()}

        yield Target(name, function, arguments, own)
    of_classes: dict[str, dict[str, Domain]] = {
        "LocalizationIoU": {"threshold": _FRACTION},
        "PointingGame": {"num_classes": integers(1), "tolerance": numbers(0, none=True)},
        "MaxBoxAccuracy": {"version": one_of(["v1", "v2"])},
        "LocalizationAccuracy": {
            "top_k": integers(1, none=True),
            "threshold": numbers(0, 1, high_is_in=False, none=True),
        },
        "PixelAveragePrecision": {"num_thresholds": integers(1)},
        "InsertionAUC": {"num_steps": integers(1)},
        "DeletionAUC": {"num_steps": integers(1)},
        "NormalizedInsertionAUC": {"num_steps": integers(1)},
        "NormalizedDeletionAUC": {"num_steps": integers(1)},
        "ROAD": {"num_shares": integers(1)},
        "Win": {"num_methods": integers(1)},
        "ClassSensitivity": {"kind": one_of(["spearman", "ssim", "pearson"])},
        "ParameterRandomization": {"num_stages": integers(1), "kind": one_of(["spearman", "ssim", "pearson"])},
    }
    for name, own in of_classes.items():
        needs = {key: 2 for key in ("num_steps", "num_shares", "num_methods", "num_stages") if key in own}
        yield Target(name, getattr(metrics, name), lambda needs=needs: dict(needs), own)
    yield Target(
        "AverageDrop.update",
        lambda **arguments: metrics.AverageDrop().update(**arguments),
        lambda: {"probabilities": torch.rand(4), "masked_probabilities": torch.rand(4)},
        {"probabilities": probabilities, "masked_probabilities": probabilities},
    )
    yield Target(
        "LocalizationIoU.update",
        lambda cams, annotation: metrics.LocalizationIoU().update(cams, annotation),
        lambda: {"cams": torch.rand(4, SIZE, SIZE), "annotation": boxes()},
        {"cams": tensors((4, SIZE, SIZE), fixed=(0,), low=0, high=1), "annotation": _boxes},
    )


def _evaluation() -> Iterator[Target]:
    of_plan: dict[str, Domain] = {
        "methods": several_of(list(METHODS)),
        "metrics": several_of(list(METRIC_NAMES)),
        "controls": several_of(["uniform", "center", "random", "shuffled"]),
        "split": one_of(["test", "val"]),
        "num_images": integers(1, none=True),
        "target_layer": LAYER,
        "num_channels": integers(1, none=True),
        "max_batch": integers(1),
        "batch_size": integers(1),
        "num_resamples": integers(1),
        "num_panel_maps": integers(0),
        "num_gallery_images": integers(0),
        "settings": objects("EvaluationSettings"),
    }
    # No control at all is what `()` means.
    without_controls = {name: domain for name, domain in of_plan.items() if name != "controls"}

    def right() -> dict[str, Any]:
        batch = camtrain.Batch(images(), labels(), boxes())
        how = {"methods": "grad_cam", "metrics": "average_drop,energy_pointing_game", "num_resamples": 10}
        return {"network": network(), "data": [batch], "progress": False, **how}

    of_evaluate: dict[str, Domain] = {
        "network": objects("a network"),
        "data": given(
            (None, "nothing"),
            (7, "a number"),
            ("data", "text"),
            ([], "no batch"),
            ([3], "a number among batches"),
            ([("a", "b")], "texts among batches"),
        ),
        "folder": given((7, "a number"), ("", "empty"), ("/proc/no/such", "cannot be written to")),
    }
    yield Target("evaluate", camtrain.evaluate, right, {**of_evaluate, **without_controls})
    yield Target(
        "evaluate",
        camtrain.evaluate,
        right,
        {
            "controls": _without(
                # A name that comes twice counts once, as among methods and metrics.
                one_of(["uniform", "center", "random", "shuffled"], none=True, empty_is_none=True),
                "['uniform', 'uniform']",
            )
        },
    )
    of_settings: dict[str, Domain] = {
        "class_of": one_of(["prediction", "label"]),
        "annotation": one_of(["boxes", "masks", "any"]),
        "num_steps": integers(1),
        "insertion_start": one_of(["blur", "zeros"]),
        "deletion_end": one_of(["blur", "zeros"]),
        "removed_shares": given(
            ((), "none"), ((0.5, 1.5), "above 1"), ((0.0,), "zero"), (0.5, "no tuple"), (("a",), "text")
        ),
        "num_stages": integers(1),
        "num_classes": integers(1, none=True),
        "tolerance": numbers(0, none=True),
        "box_threshold": numbers(0, 1, high_is_in=False, none=True),
        "seed": WHOLE,
    }
    yield Target("EvaluationSettings", EvaluationSettings, dict, of_settings)
    # A plan does not know the layers of a network.
    of_layers = given((7, "a number"), ("", "empty"), (["layer3", "layer3"], "a list"), ("layer3,", "an empty name"))
    yield Target("EvaluationPlan", EvaluationPlan, dict, {**without_controls, "target_layer": of_layers})

    def batch(**changed: Any) -> Callable[[], Any]:
        return lambda: [camtrain.Batch(**{"images": images(), "labels": labels(), "boxes": boxes(), **changed})]

    # Not wrong: an image that is not finite, which is left out with a warning, and labels that are no classes of the
    # network where no score needs them.
    def of_batches(draw: random.Random) -> Iterator[Wrong]:
        yield Wrong("three labels", batch(labels=labels(3)), "one label is missing")
        yield Wrong("float labels", batch(labels=torch.rand(4)), "floating point")
        yield Wrong("three boxes", batch(boxes=boxes(3)), "one image has none")
        yield Wrong("integer images", batch(images=(255 * images()).to(torch.uint8)), "integers, not normalized")
        yield Wrong("no color", batch(images=images()[:, :1]), "one channel")

    yield Target("evaluate", camtrain.evaluate, right, {"data": of_batches})


def _data_and_callbacks() -> Iterator[Target]:
    of_data: dict[str, Domain] = {
        "batch_size": integers(1),
        "num_workers": integers(0),
        "seed": integers(0),
        "mean": TRIPLE,
        "std": TRIPLE,
        "annotated_fraction": _FRACTION,
        "box_dilation": numbers(0),
    }
    of_split: dict[str, Domain] = {
        "val_fraction": numbers(0, 1, low_is_in=False, high_is_in=False),
        "test_fraction": numbers(0, 1, low_is_in=False, high_is_in=False),
    }
    of_digits: dict[str, Domain] = {
        "decoy_strength": _FRACTION,
        "decoy_size": integers(1),
        "image_size": integers(1, most=400),
        "digit_size": given(
            ((36, 24), "from large to small"), ((24,), "one number"), ((24.5, 36.0), "no integers"), (24, "one number")
        ),
        "clutter": integers(0),
        "samples_per_digit": integers(1),
        "annotation": one_of(["digit", "not_decoy"]),
    }
    yield Target("DecoyDigits", data.DecoyDigits, dict, {**of_data, **of_split, **of_digits})
    of_callbacks: dict[str, Domain] = {"num_images": integers(0), "every_n_epochs": integers(1)}
    yield Target("CAMLogger", callbacks.CAMLogger, dict, of_callbacks)
    of_scores: dict[str, Domain] = {
        "methods": several_of(list(METHODS)),
        "num_images": integers(0, none=True),
        "every_n_epochs": integers(1),
        "max_batch": integers(1),
    }
    for kind in (callbacks.LocalizationScores, callbacks.FaithfulnessScores):
        yield Target(kind.__name__, kind, dict, of_scores)
    of_margins: dict[str, Domain] = dict.fromkeys(("margin", "leakage_margin"), numbers(0, 1, high_is_in=False))
    yield Target("Rule", Rule, dict, of_margins)


def _commands_as_functions(folder: Path) -> Iterator[Target]:
    run = folder / "run"
    checkpoint = run / "runs/small/version_0/checkpoints/last.ckpt"
    paths = given(
        ("no/such.ckpt", "no such file"),
        ("", "empty"),
        (7, "a number"),
        (str(run / "small.yaml"), "a configuration"),
        (str(folder / "images/train/cat/0.png"), "an image"),
        (str(folder / "images"), "a folder without a checkpoint"),
        ("a\0b", "a NUL in a path"),
        ("x" * 5000, "too long for a path"),
    )
    of_load: dict[str, Domain] = {
        "checkpoint": paths,
        "config": given(("no/such.yaml", "no such file"), (7, "a number")),
        "size": integers(1, none=True),
        "mean": TRIPLE,
        "std": TRIPLE,
        "device": one_of(["cpu", "cuda", "auto"]),
        "seed": WHOLE,
        "name": classes(["resnet50", "cifar_resnet8"], ("collections.OrderedDict", "torch.zeros")),
    }

    def load(**arguments: Any) -> None:
        if "name" in arguments:
            arguments = {**arguments, "checkpoint": None}
        camtrain.load_network(**arguments)

    yield Target("load_network", load, lambda: {"checkpoint": str(checkpoint)}, of_load)
    yield Target(
        "load_network",
        camtrain.load_network,
        lambda: {"checkpoint": str(checkpoint)},
        {"std": given(((0.0, 0.1, 0.1), "division by zero"), ((-0.1, 0.1, 0.1), "negative"))},
    )
    # A checkpoint is a right one: its run has a configuration.
    configs = given(("no/such.yaml", "no such file"), (7, "a number"), ("", "empty"))
    yield Target("load_data", camtrain.load_data, lambda: {"config": str(run / "small.yaml")}, {"config": configs})

    def explained(**arguments: Any) -> None:
        for _ in camtrain.explain(**arguments, progress=False):
            pass

    of_explain: dict[str, Domain] = {
        "network": objects("a network"),
        "images": given(
            (None, "nothing"),
            (7, "a number"),
            ("no/such.png", "no such file"),
            (str(run / "small.yaml"), "no image"),
            ([], "no image"),
            ([3], "a number among images"),
            (str(checkpoint.parent), "a folder without images"),
            ("", "empty"),
        ),
        "methods": several_of(list(METHODS)),
        "class_": _class_index,
        "top_k": integers(1, most=NUM_CLASSES),
        "contrast": given(
            (99, "no such class"), (-1, "negative"), ("dog", "a name, where there are none"), (1.5, "no integer")
        ),
        "target_layer": LAYER,
        "num_channels": integers(1, none=True),
        "max_batch": integers(1),
        "seed": WHOLE,
        "on_error": one_of(["raise", "warn", "skip"]),
    }
    yield Target("explain", explained, lambda: {"network": network(), "images": images(1)}, of_explain)
    # (3, H, W) is one image.
    without_batch = _without(tensors((2, 3, SIZE, SIZE)), "one dimension less", "text", "None")
    yield Target("explain", explained, lambda: {"network": network()}, {"images": without_batch})
    weights = "model.regularizer_weight"
    small = str(run / "small.yaml")
    of_ablate: dict[str, Domain] = {
        "config": given(
            ("no/such.yaml", "no such file"),
            (7, "a number"),
            ({"modl": {}}, "an unknown section"),
            ("", "empty"),
            ({"model": 3}, "a number for a section"),
            (str(checkpoint), "a checkpoint"),
        ),
        "grid": given(
            ({}, "no key"),
            ({weights: []}, "no value"),
            ({weights: 0.1}, "one number alone"),
            ({weights: "0,1"}, "text"),
            ({"model.regularizer_wieght": [0]}, "an unknown key"),
            ({weights: ["a"]}, "text for a number"),
            ([0, 1], "a list"),
            ({weights: [0, -1]}, "a negative weight"),
            ({weights: [float("nan")]}, "NaN"),
            ({weights: [0, 0]}, "a value twice"),
            ({"run.name": ["a", "b"]}, "changes nothing"),
            ({"seed_everything": [0, 1]}, "seeds are given by `seeds`"),
            ({weights: [0, None, ""]}, "an empty value"),
            (None, "nothing"),
            ({"model.network.depth": [8, 9]}, "no depth"),
            ({"data.batch_size": [0, -4]}, "no batch size"),
            ({"trainer.max_epochs": [1, -7]}, "negative epochs"),
        ),
        "folder": given((7, "a number"), (small, "a file"), ("/proc/no/such", "cannot be made"), ("a\0b", "a NUL")),
        "seeds": given(
            ((), "none"),
            ((0, 0), "one twice"),
            ((-1,), "negative"),
            ((1.5,), "no integer"),
            ("0,1", "text"),
            (("a",), "text"),
            (3, "one number"),
            ((2**70,), "too large for a seed"),
        ),
        "evaluation": objects("an EvaluationPlan"),
        "num_validation_images": integers(0, none=True),
        "jobs": integers(1, none=True),
        "threads": integers(1, none=True),
        "executor": one_of(["local", "ray"]),
        "wandb": one_of(["offline", "online", "disabled"], none=True),
        "project": given((7, "a number"), ("", "empty")),
    }

    def right() -> dict[str, Any]:
        return {"config": small, "grid": {weights: [0]}, "folder": "study", "evaluation": None, "progress": False}

    # What is accepted would be trained for minutes: it is given up before its first run.
    yield Target("ablate", _planned, right, of_ablate)


def _planned(**arguments: Any) -> None:
    """Call `ablate` with an executor that runs nothing, unless an executor is what is asked for."""
    if "executor" not in arguments and "jobs" not in arguments:
        arguments["executor"] = _nothing
    camtrain.ablate(**arguments)


def _nothing(study: Any, on_trial: Any) -> list[Any]:
    return []


def _without(domain: Domain, *shown: str) -> Domain:
    """Leave out some values, which a function takes."""

    def found(draw: random.Random) -> Iterator[Wrong]:
        yield from (each for each in domain(draw) if each.shown not in shown)

    return found
