"""Every score by its name: what it needs, how it is made, how it is printed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from camtrain.evaluation.evaluation_settings import EvaluationSettings
from camtrain.metrics import (
    ADCC,
    ROAD,
    AdditiveScore,
    AverageDrop,
    AverageGain,
    AverageIncrease,
    ClassSensitivity,
    DeletionAUC,
    EnergyPointingGame,
    GradientNoise,
    GuidedAgreement,
    InsertionAUC,
    LocalizationIoU,
    MaxBoxAccuracy,
    ParameterRandomization,
    PixelAveragePrecision,
    PointingGame,
    WinShare,
)
from camtrain.nearest_names import nearest_names

Group = Literal["faithfulness", "localization", "sanity", "gradient"]


@dataclass(frozen=True)
class MetricSpec:
    """A score of a method's maps, or of the network's gradients, as an evaluation uses it.

    Attributes:
        title: as it is printed.
        group: what it is about.
        make: the metric, for the settings.
        arguments: of the metric's `rows`, from a `Measured`; of the gradient's scores, from `Gradients`.
        needs: names in `Measured.further`.
        truth: what it compares maps with; `None` needs no annotation.
        slow: whether it takes many passes more than the others, and is left out unless it is asked for.
    """

    title: str
    group: Group
    make: Callable[[EvaluationSettings], AdditiveScore]
    arguments: Callable[[Any], tuple[Any, ...]]
    needs: tuple[str, ...] = ()
    truth: Literal["annotation", "boxes", "masks"] | None = None
    slow: bool = False

    @property
    def of_network(self) -> bool:
        """Whether it scores the network itself, whatever the method."""
        return self.group == "gradient"


def _masked(title: str, make: Callable[[], AdditiveScore]) -> MetricSpec:
    """A score of the probability on the masked image."""
    return MetricSpec(
        title,
        "faithfulness",
        lambda settings: make(),
        lambda measured: (measured.scores, measured.further["masked_scores"]),
        needs=("masked_scores",),
    )


def _curve(title: str, name: str, make: Callable[[int], AdditiveScore]) -> MetricSpec:
    """A score of the probability along a way."""
    return MetricSpec(
        title,
        "faithfulness",
        lambda settings: make(settings.num_steps),
        lambda measured: (measured.further[name],),
        needs=(name,),
    )


def _iou(percent: int) -> MetricSpec:
    return MetricSpec(
        f"IoU {percent} %",
        "localization",
        lambda settings: LocalizationIoU(percent / 100),
        lambda measured: (measured.cams, measured.annotation),
        truth="annotation",
    )


def _max_box(title: str, version: Literal["v1", "v2"]) -> MetricSpec:
    return MetricSpec(
        title,
        "localization",
        lambda settings: MaxBoxAccuracy(version),
        lambda measured: (measured.cams, measured.boxes),
        truth="boxes",
    )


METRICS: dict[str, MetricSpec] = {
    "average_drop": _masked("drop", AverageDrop),
    "average_increase": _masked("increase", AverageIncrease),
    "average_gain": _masked("gain", AverageGain),
    "win": MetricSpec(
        "win",
        "faithfulness",
        lambda settings: WinShare(),
        lambda measured: (measured.scores, measured.further["compared_masked_scores"], measured.method),
        needs=("masked_scores", "compared_masked_scores"),
    ),
    "insertion_auc": _curve("insertion", "insertion_curve", InsertionAUC),
    "deletion_auc": _curve("deletion", "deletion_curve", DeletionAUC),
    "adcc": MetricSpec(
        "ADCC",
        "faithfulness",
        lambda settings: ADCC(),
        lambda measured: (
            measured.cams,
            measured.further["masked_cams"],
            measured.scores,
            measured.further["masked_scores"],
        ),
        needs=("masked_scores", "masked_cams"),
    ),
    "road": MetricSpec(
        "ROAD",
        "faithfulness",
        lambda settings: ROAD(len(settings.removed_shares)),
        lambda measured: tuple(measured.further["removal_curves"].unbind(dim=1)),
        needs=("removal_curves",),
        slow=True,
    ),
    "localization_iou_0": _iou(0),
    "localization_iou_25": _iou(25),
    "localization_iou_50": _iou(50),
    "energy_pointing_game": MetricSpec(
        "energy",
        "localization",
        lambda settings: EnergyPointingGame(),
        lambda measured: (measured.positive_cams, measured.annotation),
        truth="annotation",
    ),
    "pointing_game": MetricSpec(
        "pointing",
        "localization",
        lambda settings: PointingGame(settings.num_classes or 1, settings.tolerance),
        lambda measured: (measured.cams, measured.annotation, measured.labels),
        truth="annotation",
    ),
    "max_box_accuracy_v1": _max_box("MaxBox V1", "v1"),
    "max_box_accuracy_v2": _max_box("MaxBox V2", "v2"),
    "pixel_average_precision": MetricSpec(
        "PxAP",
        "localization",
        lambda settings: PixelAveragePrecision(),
        lambda measured: (measured.cams, measured.masks),
        truth="masks",
    ),
    "class_sensitivity": MetricSpec(
        "class sens.",
        "sanity",
        lambda settings: ClassSensitivity(),
        lambda measured: (measured.cams, measured.further["other_cams"]),
        needs=("other_cams",),
    ),
    "parameter_randomization": MetricSpec(
        "random. params",
        "sanity",
        lambda settings: ParameterRandomization(settings.num_stages),
        lambda measured: (measured.cams, measured.further["randomized_cams"]),
        needs=("randomized_cams",),
        slow=True,
    ),
    "gradient_noise": MetricSpec(
        "gradient noise",
        "gradient",
        lambda settings: GradientNoise(),
        lambda gradients: (gradients.of_input,),
        needs=("gradients",),
    ),
    "guided_agreement": MetricSpec(
        "guided agreement",
        "gradient",
        lambda settings: GuidedAgreement(),
        lambda gradients: (gradients.of_input, gradients.guided),
        needs=("gradients", "guided_gradients"),
    ),
}
"""The scores by their names, which are also those of their log keys."""


def metric_names(names: str | Sequence[str]) -> list[str]:
    """Names of scores, from names, names of groups, `all`, and `fast`: all but those that take many passes more.

    Raises:
        ValueError: if there is none of a name, with the nearest ones.

    Example:
        >>> metric_names(["average_drop", "sanity"])
        ['average_drop', 'class_sensitivity', 'parameter_randomization']
        >>> metric_names(["iou"])
        Traceback (most recent call last):
        ValueError: `metrics`: none is called 'iou'; ...
    """
    groups = {"all", "fast", *(each.group for each in METRICS.values())}
    chosen: list[str] = []
    for name in (word.strip() for word in (names.split(",") if isinstance(names, str) else names)):
        if name in METRICS:
            chosen.append(name)
        elif name in groups:
            chosen += [other for other, each in METRICS.items() if _belongs(each, name)]
        else:
            raise ValueError(f"`metrics`: none is called {name!r}; {nearest_names(name, [*groups, *METRICS])}")
    return list(dict.fromkeys(chosen))


def _belongs(metric: MetricSpec, group: str) -> bool:
    return group == "all" or (group == "fast" and not metric.slow) or group == metric.group
