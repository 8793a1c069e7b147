"""What is evaluated, as data: a study keeps it, and each of its trials is evaluated by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from camtrain.evaluation.evaluation_settings import EvaluationSettings
from camtrain.evaluation.metric_specs import METRICS, metric_names
from camtrain.messages import checked_integer, listed_names, positive_integer
from camtrain.methods import control_names, control_words, method_names

Split = Literal["test", "val"]


@dataclass(frozen=True)
class EvaluationPlan:
    """The arguments of `evaluate` that do not depend on the network: `evaluate(network, data, **plan.arguments())`.

    Attributes:
        methods: Names of methods, as a sequence or separated by commas; `all` is one of them.
        metrics: Names of metrics or of groups of them, likewise.
        split: The images of a data module that are evaluated.
        num_images: The number of images, evenly spaced over the data set; `None` takes all.
        settings: The choices that change the numbers.
        target_layer: The layer of the maps; several are separated by commas; `None` finds the last one.
        num_channels: The number of channels that Score-CAM, SS-CAM and Ablation-CAM measure; `None` measures all.
        max_batch: The largest number of images in one forward pass.
        batch_size: The number of images whose maps are made together.
        num_resamples: The number of bootstrap resamples behind the intervals.
        num_panel_maps: The number of best, and of worst, maps of each method in a metric's panel.
        num_gallery_images: The number of images that are written with their maps as arrays.
        controls: The control maps that are scored beside the methods, likewise: uniform, center, random, or shuffled,
            which is a map of another image for each method. `None` is none.

    Raises:
        TypeError: If an argument has another type.
        ValueError: If there is no method, metric or control of a name, or a number is out of range.

    Example:
        >>> plan = EvaluationPlan(metrics=("average_drop",), num_images=100)
        >>> EvaluationPlan.from_json(plan.as_json()) == plan
        True
    """

    methods: str | Sequence[str] = ("grad_cam",)
    metrics: str | Sequence[str] = ("fast",)
    split: Split = "test"
    num_images: int | None = None
    settings: EvaluationSettings = field(default_factory=EvaluationSettings)
    target_layer: str | None = None
    num_channels: int | None = None
    max_batch: int = 64
    batch_size: int = 16
    num_resamples: int = 1000
    num_panel_maps: int = 3
    num_gallery_images: int = 0
    controls: str | Sequence[str] | None = ()

    def __post_init__(self) -> None:
        if not isinstance(self.settings, EvaluationSettings):
            raise TypeError(f"`settings`: expected EvaluationSettings, got {self.settings!r}")
        methods = dict.fromkeys(listed_names("methods", self.methods))
        method_names(list(methods))  # raises if one is unknown
        object.__setattr__(self, "methods", tuple(methods))
        object.__setattr__(self, "metrics", tuple(metric_names(self.metrics, self.settings.class_of)))
        if not self.metrics:
            raise ValueError("`metrics`: expected at least one, got none")
        object.__setattr__(self, "controls", tuple(control_words(() if self.controls is None else self.controls)))
        if self.split not in ("test", "val"):
            raise ValueError(f'`split`: expected "test" or "val", got {self.split!r}')
        for name in ("num_images", "num_channels", "max_batch", "batch_size", "num_resamples"):
            if getattr(self, name) is not None or name not in ("num_images", "num_channels"):
                object.__setattr__(self, name, positive_integer(name, getattr(self, name)))
        for name in ("num_panel_maps", "num_gallery_images"):
            object.__setattr__(self, name, checked_integer(name, getattr(self, name), at_least=0))
        if self.target_layer is not None:
            _check_layers(self.target_layer)

    @property
    def score_names(self) -> list[str]:
        """The names of all scores that it leads to: metrics, and metric/method for those of maps."""
        of_maps = [metric for metric in self.metrics if not METRICS[metric].of_network]
        of_controls = [metric for metric in self.metrics if METRICS[metric].has_control]
        methods = method_names(self.methods)
        controls = [name for name in control_names(self.controls or (), methods) if name not in methods]
        return [
            *self.metrics,
            *(f"{metric}/{method}" for metric in of_maps for method in methods),
            *(f"{metric}/{control}" for metric in of_controls for control in controls),
        ]

    def __str__(self) -> str:
        """Methods, metrics and images, and every other choice that is not the default.

        Example:
            >>> print(EvaluationPlan(metrics="average_drop", num_images=8, settings=EvaluationSettings(num_steps=4)))
            grad_cam by average_drop on 8 test images, num_steps=4
        """
        images = f"{'all' if self.num_images is None else self.num_images} {self.split} images"
        own = ("target_layer", "num_channels", "max_batch", "batch_size", "num_resamples")
        others = [f"{name}={getattr(self, name)}" for name in own if getattr(self, name) != getattr(_DEFAULT, name)]
        others += [
            f"{each.name}={getattr(self.settings, each.name)}"
            for each in fields(self.settings)
            if getattr(self.settings, each.name) != getattr(_DEFAULT.settings, each.name)
        ]
        if self.controls:
            others.append(f"controls={', '.join(self.controls)}")
        return ", ".join([f"{', '.join(self.methods)} by {', '.join(self.metrics)} on {images}", *others])

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of `evaluate`."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def as_json(self) -> dict[str, Any]:
        """The plan as JSON can hold it."""
        found = asdict(self)
        words = {name: list(getattr(self, name)) for name in ("methods", "metrics", "controls")}
        return found | words | {"settings": self.settings.as_json()}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> EvaluationPlan:
        """The plan that `as_json` gave, also by an earlier version with fewer settings."""
        # An earlier version evaluated neighbors together.
        settings: dict[str, Any] = {"parts": "given"} | dict(found.get("settings", {}))
        if "removed_shares" in settings:
            settings["removed_shares"] = tuple(settings["removed_shares"])
        known = {each.name for each in fields(cls)}
        return cls(**{k: v for k, v in found.items() if k in known} | {"settings": EvaluationSettings(**settings)})


def _check_layers(target_layer: object) -> None:
    expected = "`target_layer`: expected the dotted name of a layer, several separated by commas, or None"
    if not isinstance(target_layer, str):
        raise TypeError(f"{expected}, got {target_layer!r}")
    if not all(name.strip() for name in target_layer.split(",")):
        raise ValueError(f"{expected}, got {target_layer!r}")


_DEFAULT = EvaluationPlan()
