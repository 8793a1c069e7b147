"""Every metric by its name: its title, how it is made, and what it needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from camtrain.evaluation.evaluation_settings import ClassOf, EvaluationSettings
from camtrain.evaluation.foreign_content import CONTENT_SCORES
from camtrain.evaluation.imputed import REMOVAL_CURVES
from camtrain.evaluation.masked_image import COMPARED_MASKED_SCORES, MASKED_CAMS, MASKED_SCORES
from camtrain.evaluation.need import ComparisonNeed, Need, ProbabilityNeed
from camtrain.evaluation.network_gradients import GUIDED_GRADIENTS, INPUT_GRADIENTS
from camtrain.evaluation.other_class import OTHER_CAMS
from camtrain.evaluation.randomized_layers import RANDOMIZED_CAMS
from camtrain.evaluation.removal_path import DELETION_CURVE, INSERTION_CURVE
from camtrain.messages import listed_names, nearest_names
from camtrain.metrics import (
    ADCC,
    ROAD,
    AdditiveScore,
    AverageDrop,
    AverageGain,
    AverageIncrease,
    ClassSensitivity,
    DeletionAUC,
    EnergyBeyondArea,
    EnergyPointingGame,
    GradientNoise,
    GuidedAgreement,
    InsertionAUC,
    LocalizationAccuracy,
    LocalizationIoU,
    MapLeakage,
    MaxBoxAccuracy,
    NormalizedDeletionAUC,
    NormalizedInsertionAUC,
    ParameterRandomization,
    PixelAveragePrecision,
    PointingGame,
    WinShare,
)

Group = Literal["faithfulness", "localization", "sanity", "gradient"]


@dataclass(frozen=True)
class MetricSpec:
    """A metric of the maps of a method, or of the gradients of the network, as an evaluation uses it.

    A metric that needs something new beside the map brings it along as a `Need`, without a change of the evaluator.

    Attributes:
        title: The name in tables.
        group: The group of metrics that it belongs to. Metrics of the group "gradient" score the network itself.
        make: Makes the metric for the settings of an evaluation.
        arguments: Makes the arguments of the metric's `rows` from a `Measured`, or from a `Measurements` for a metric
            of the network.
        needs: What is measured beside the map; the results are in `Measurements.further` by the names of the needs.
        truth: What maps are compared with: boxes, masks, or whichever `EvaluationSettings.annotation` chooses. `None`
            needs no annotation.
        slow: Whether the metric takes many more forward passes than the others; such a metric is not among the "fast"
            ones.
        restates: Whether the metric shows another one in other units. A mean over metrics does not count it again.
        of_label: Whether the metric is about the map of the label. Groups leave it out where maps explain the predicted
            class (see `metric_names`).

    Example:
        >>> METRICS["average_drop"].title, [need.name for need in METRICS["average_drop"].needs]
        ('drop', ['masked_scores'])
    """

    title: str
    group: Group
    make: Callable[[EvaluationSettings], AdditiveScore]
    arguments: Callable[[Any], tuple[Any, ...]]
    needs: tuple[Need, ...] = ()
    truth: Literal["annotation", "boxes", "masks"] | None = None
    slow: bool = False
    restates: bool = False
    of_label: bool = False

    @property
    def has_control(self) -> bool:
        """Whether the score of a control map says something: for faithfulness and localization, `win` excepted.

        `win` compares methods with each other, and a control is none. Sanity checks ask how maps change, which a
        control does not show.

        Example:
            >>> [name for name in ("average_drop", "win", "class_sensitivity") if METRICS[name].has_control]
            ['average_drop']
        """
        compares = any(isinstance(need, ComparisonNeed) for need in self.needs)
        return self.group in ("faithfulness", "localization") and not compares

    @cached_property  # since reports ask thousands of times, and making a metric takes a millisecond
    def higher_is_better(self) -> bool:
        """Whether a higher value is better, which no setting of an evaluation changes.

        Example:
            >>> [METRICS[name].higher_is_better for name in ("average_drop", "average_gain")]
            [False, True]
        """
        return bool(self.make(EvaluationSettings()).higher_is_better)

    @property
    def of_network(self) -> bool:
        """Whether the metric scores the network itself, independent of any method."""
        return self.group == "gradient"


def _masked(title: str, make: Callable[[], AdditiveScore]) -> MetricSpec:
    """A metric of the probability on the masked image."""
    return MetricSpec(
        title,
        "faithfulness",
        lambda settings: make(),
        lambda measured: (measured.batch.scores, measured.further["masked_scores"]),
        needs=(MASKED_SCORES,),
    )


def _curve(
    title: str, need: ProbabilityNeed, make: Callable[[int], AdditiveScore], *, restates: bool = False
) -> MetricSpec:
    """A metric of the probability along a path."""
    return MetricSpec(
        title,
        "faithfulness",
        lambda settings: make(settings.num_steps),
        lambda measured: (measured.further[need.name],),
        needs=(need,),
        restates=restates,
    )


def _iou(percent: int) -> MetricSpec:
    return MetricSpec(
        f"IoU at {percent} %",
        "localization",
        lambda settings: LocalizationIoU(percent / 100),
        lambda measured: (measured.cams, measured.batch.annotation),
        truth="annotation",
    )


def _max_box(title: str, version: Literal["v1", "v2"]) -> MetricSpec:
    return MetricSpec(
        title,
        "localization",
        lambda settings: MaxBoxAccuracy(version),
        lambda measured: (measured.cams, measured.batch.boxes),
        truth="boxes",
    )


def _localization(title: str, top_k: int | None) -> MetricSpec:
    return MetricSpec(
        title,
        "localization",
        lambda settings: LocalizationAccuracy(top_k, settings.box_threshold),
        lambda measured: (measured.cams, *measured.batch.labeled_boxes),
        truth="boxes",
        restates=True,
        of_label=True,
    )


METRICS: dict[str, MetricSpec] = {
    "average_drop": _masked("drop", AverageDrop),
    "average_increase": _masked("increase", AverageIncrease),
    "average_gain": _masked("average gain", AverageGain),
    "win": MetricSpec(
        "win",
        "faithfulness",
        lambda settings: WinShare(),
        lambda measured: (measured.batch.scores, measured.further["compared_masked_scores"], measured.method),
        needs=(MASKED_SCORES, COMPARED_MASKED_SCORES),
    ),
    "insertion_auc": _curve("insertion", INSERTION_CURVE, InsertionAUC),
    "deletion_auc": _curve("deletion", DELETION_CURVE, DeletionAUC),
    "normalized_insertion_auc": _curve("insertion / p", INSERTION_CURVE, NormalizedInsertionAUC, restates=True),
    "normalized_deletion_auc": _curve("deletion / p", DELETION_CURVE, NormalizedDeletionAUC, restates=True),
    "map_leakage": MetricSpec(
        "leakage",
        "faithfulness",
        lambda settings: MapLeakage(),
        lambda measured: tuple(measured.further["content_scores"].unbind(dim=1)),
        needs=(CONTENT_SCORES,),
    ),
    "adcc": MetricSpec(
        "ADCC",
        "faithfulness",
        lambda settings: ADCC(),
        lambda measured: (
            measured.cams,
            measured.further["masked_cams"],
            measured.batch.scores,
            measured.further["masked_scores"],
        ),
        needs=(MASKED_SCORES, MASKED_CAMS),
    ),
    "road": MetricSpec(
        "ROAD",
        "faithfulness",
        lambda settings: ROAD(len(settings.removed_shares)),
        lambda measured: tuple(measured.further["removal_curves"].unbind(dim=1)),
        needs=(REMOVAL_CURVES,),
        slow=True,
    ),
    "localization_iou_0": _iou(0),
    "localization_iou_25": _iou(25),
    "localization_iou_50": _iou(50),
    "energy_pointing_game": MetricSpec(
        "energy",
        "localization",
        lambda settings: EnergyPointingGame(),
        lambda measured: (measured.positive_cams, measured.batch.annotation),
        truth="annotation",
    ),
    "energy_beyond_area": MetricSpec(
        "energy beyond area",
        "localization",
        lambda settings: EnergyBeyondArea(),
        lambda measured: (measured.positive_cams, measured.batch.annotation),
        truth="annotation",
        restates=True,
    ),
    "pointing_game": MetricSpec(
        "pointing",
        "localization",
        lambda settings: PointingGame(settings.num_classes or 1, settings.tolerance),
        lambda measured: (measured.cams, measured.batch.annotation, measured.batch.labels),
        truth="annotation",
    ),
    "max_box_accuracy_v1": _max_box("MaxBox V1", "v1"),
    "max_box_accuracy_v2": _max_box("MaxBox V2", "v2"),
    "top_1_localization": _localization("Top-1 Loc", 1),
    "top_5_localization": _localization("Top-5 Loc", 5),
    "gt_known_localization": _localization("GT-known Loc", None),
    "pixel_average_precision": MetricSpec(
        "PxAP",
        "localization",
        lambda settings: PixelAveragePrecision(),
        lambda measured: (measured.cams, measured.batch.masks, measured.batch.ignored),
        truth="masks",
    ),
    "class_sensitivity": MetricSpec(
        "class sens.",
        "sanity",
        lambda settings: ClassSensitivity(),
        lambda measured: (measured.cams, measured.further["other_cams"]),
        needs=(OTHER_CAMS,),
    ),
    "parameter_randomization": MetricSpec(
        "random. params",
        "sanity",
        lambda settings: ParameterRandomization(settings.num_stages),
        lambda measured: (measured.cams, measured.further["randomized_cams"]),
        needs=(RANDOMIZED_CAMS,),
        slow=True,
    ),
    "gradient_noise": MetricSpec(
        "gradient noise",
        "gradient",
        lambda settings: GradientNoise(),
        lambda measured: (measured.further["gradients"],),
        needs=(INPUT_GRADIENTS,),
    ),
    "guided_agreement": MetricSpec(
        "guided agreement",
        "gradient",
        lambda settings: GuidedAgreement(),
        lambda measured: (measured.further["gradients"], measured.further["guided_gradients"]),
        needs=(INPUT_GRADIENTS, GUIDED_GRADIENTS),
    ),
}
"""The metrics by name; the names are also those of the log keys."""


def named_metrics(names: str | Sequence[str]) -> list[str]:
    """The metrics among some names, without those that a group stands for.

    Example:
        >>> named_metrics("fast, average_drop")
        ['average_drop']
    """
    words = names.split(",") if isinstance(names, str) else names
    return [name for word in words if (name := word.strip()) in METRICS]


def metric_names(names: str | Sequence[str], class_of: ClassOf | None = None) -> list[str]:
    """Names of metrics, without repetition.

    Args:
        names: As a sequence or separated by commas: names of metrics, names of groups, `all`, or `fast`, which means
            all metrics that are not slow.
        class_of: The class that maps explain. Only if it is the label, groups have the metrics that are about the map
            of the label. `None` says that it is not known yet: then such a metric may be named.

    Raises:
        ValueError: If there is no metric or group of a name, with the nearest names; or if a metric is named that is
            about the map of the label, and maps explain the prediction.

    Example:
        >>> metric_names(["average_drop", "sanity"])
        ['average_drop', 'class_sensitivity', 'parameter_randomization']
        >>> metric_names(["iou"])
        Traceback (most recent call last):
        ValueError: `metrics`: none is called 'iou'; ...
    """
    groups = {"all", "fast", *(each.group for each in METRICS.values())}
    chosen: list[str] = []
    for name in listed_names("metrics", names):
        if name in METRICS:
            if METRICS[name].of_label and class_of == "prediction":
                raise ValueError(
                    f'`class_of`: expected "label", since {name} is about the map of the label, got {class_of!r}'
                )
            chosen.append(name)
        elif name in groups:
            meant = [other for other, each in METRICS.items() if _belongs(each, name)]
            chosen += [other for other in meant if class_of in ("label", "every_label") or not METRICS[other].of_label]
        else:
            raise ValueError(f"`metrics`: none is called {name!r}; {nearest_names(name, [*groups, *METRICS])}")
    return list(dict.fromkeys(chosen))


def needs_by_name() -> dict[str, Need]:
    """The needs of all metrics, by name, in the order in which they are measured.

    Raises:
        ValueError: If two different needs have the same name.
    """
    needs: dict[str, Need] = {}
    for name, metric in METRICS.items():
        for need in metric.needs:
            if needs.setdefault(need.name, need) != need:
                raise ValueError(
                    f"`needs`: expected one need called {need.name!r}, got another one from metric {name!r}"
                )
    return needs


def _belongs(metric: MetricSpec, group: str) -> bool:
    return group == "all" or (group == "fast" and not metric.slow) or group == metric.group
