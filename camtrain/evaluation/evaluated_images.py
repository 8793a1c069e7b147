"""What an evaluation found out about all images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from camtrain.cams import resize
from camtrain.evaluation.evaluator import IMAGE, NO_CLASS, Evaluated, Rows
from camtrain.label_scores import StageScores

_SMALL_MAP = 64  # pixels of the shorter side of the maps that are kept for the panels


@dataclass
class EvaluatedImages:
    """What was found out about N images.

    Attributes:
        indices: The indices of the images in their data set.
        labels: (N,); -1 where they are unknown, or images show several classes.
        predictions: (N,) predicted classes; -1 for an image that is left out of every score.
        class_idx: (N,) explained classes.
        scores: (N,) probabilities of the explained classes; NaN for an image that is left out of every score.
        confidences: (N,) probabilities of the predicted classes; NaN where they are unknown, as in parts of an earlier
            version where another class was explained.
        rows: (N, S) by method and metric, from which scores are made.
        beside: (N, S) by method, another one, and metric: where an image has maps of several classes, the rows over
            those that count for both.
        small_maps: (N, h, w) uint8 by method; zeros for images of which the method made no map.
        passes: The number of images run through the network, by what for.
        reasons: Why a method made no map, by its name.
        annotated: (N,) bool, which images have what maps are compared with, by "boxes" and "masks".
        left_out: The indices of the images that are not counted, by the keys of `reasons`.
        flat: (N,) int8 by method: 1 if the map is flat, 0 if it is not, -1 if there is none. A method that is not here
            was scored by an earlier version, which did not say it.
        shown: (N, K) bool, the classes that each image shows; `None` unless there may be several.
        probabilities: (N, K), those of all classes; `None` unless images may show several classes.
    """

    indices: list[int]
    labels: Tensor
    predictions: Tensor
    class_idx: Tensor
    scores: Tensor
    confidences: Tensor
    rows: Rows
    small_maps: dict[str, Tensor]
    passes: dict[str, int]
    reasons: dict[str, str]
    annotated: dict[str, Tensor] = field(default_factory=dict)
    left_out: dict[str, list[int]] = field(default_factory=dict)
    beside: dict[tuple[str, str, str], Tensor] = field(default_factory=dict)
    flat: dict[str, Tensor] = field(default_factory=dict)
    shown: Tensor | None = None
    probabilities: Tensor | None = None

    @property
    def is_right(self) -> Tensor:
        """(N,) float64: 1 for an image that is classified rightly, 0 for another; NaN where no label is known.

        If images may show several classes, the fraction of the classes of which it is said rightly whether the image
        shows them: with a probability of at least 1/2. Images that are left out of every score are left out here too.
        """
        if self.shown is not None and self.probabilities is not None:
            shares = ((self.probabilities >= 0.5) == self.shown).double().mean(dim=1)
            return torch.where(self.predictions >= 0, shares, torch.nan)
        known = (self.labels >= 0) & (self.predictions >= 0)
        return torch.where(known, (self.predictions == self.labels).double(), torch.nan)

    @property
    def of_several(self) -> dict[str, float]:
        """Mean average precision and F1 score over the classes; empty unless images may show several classes."""
        if self.shown is None or self.probabilities is None:
            return {}
        answered = self.predictions >= 0
        scores = StageScores(self.shown.shape[1], "images")
        scores.add(self.probabilities[answered], self.shown[answered])
        found = scores.pop()
        return {name: float(found[f"images/{name}"]) for name in ("mean_average_precision", "f1") if found}

    @property
    def accuracy(self) -> float | None:
        """The fraction of the images with a label that are classified rightly; `None` where no label is known."""
        return _mean_of_known(self.is_right)

    def rows_beside(self, method: str, other: str, metric: str) -> Tensor:
        """The rows of a method over the maps that also count for another one, with which it is compared."""
        return self.beside.get((method, other, metric), self.rows[method, metric])

    def has_labels_of(self, other: EvaluatedImages) -> bool:
        """Whether the labels are those of another evaluation."""
        if self.shown is None or other.shown is None:
            return self.shown is other.shown and torch.equal(self.labels, other.labels)
        return torch.equal(self.shown, other.shown)

    def is_flat(self, method: str) -> Tensor:
        """(N,) float64: 1 for an image whose map is flat, 0 for another; NaN where there is no map."""
        flat = self.flat[method].double()
        return torch.where(flat >= 0, flat, torch.nan)

    @property
    def flat_maps(self) -> dict[str, float]:
        """The fraction of the maps that are flat, by method."""
        shares = {method: _mean_of_known(self.is_flat(method)) for method in self.flat}
        return {method: share for method, share in shares.items() if share is not None}


def _mean_of_known(values: Tensor) -> float | None:
    known = values[values.isfinite()]
    return float(known.mean()) if len(known) else None


def flat_maps(found: Evaluated, methods: Sequence[str]) -> dict[str, Tensor]:
    """Which maps are flat, (N,) int8 by method, as `EvaluatedImages.flat` has it."""
    states = {}
    for method in methods:
        state = torch.full((len(found.predictions),), -1, dtype=torch.int8)
        if method in found.cams:
            state = (found.cams[method].flatten(1).amax(dim=1) <= 0).to("cpu", torch.int8)
        # What is left out has zeros in the place of its map.
        for name in (method, IMAGE, NO_CLASS):
            state = torch.where(found.left_out.get(name, torch.zeros_like(state, dtype=torch.bool)), -1, state)
        states[method] = state.to(torch.int8)
    return states


def small_maps(found: Evaluated) -> dict[str, Tensor]:
    """Small maps with one byte per pixel, (N, h, w) uint8 by method."""
    small = {}
    for method, cams in found.cams.items():
        factor = min(1.0, _SMALL_MAP / min(cams.shape[-2:]))
        size = [max(1, round(factor * length)) for length in cams.shape[-2:]]
        shown = interpolate(cams.unsqueeze(1).float(), size=size, mode="area").squeeze(1)
        small[method] = (255 * shown.clamp(0, 1)).round().to(torch.uint8).cpu()
    return small


def joined(parts: Sequence[dict[str, Any]]) -> EvaluatedImages:
    """The parts of an evaluation as one, with the images in the order of their data set."""
    passes: dict[str, int] = {}
    reasons: dict[str, str] = {}
    left_out: dict[str, list[int]] = {}
    for part in parts:
        passes |= {need: passes.get(need, 0) + count for need, count in part["passes"].items()}
        reasons = part["reasons"] | reasons
        # The parts that an earlier version kept say of no image why it is not counted.
        for name, indices in part.get("left_out", {}).items():
            left_out[name] = left_out.get(name, []) + indices
    methods = {method for part in parts for method in part["small_maps"]}
    indices = [index for part in parts for index in part["indices"]]
    order = sorted(range(len(indices)), key=indices.__getitem__)

    def in_order(of_parts: Iterable[Tensor]) -> Tensor:
        return torch.cat(list(of_parts))[order]

    def together(name: str) -> Tensor:
        return in_order(part[name] for part in parts)

    several = all("shown" in part for part in parts)

    return EvaluatedImages(
        [indices[place] for place in order],
        together("labels"),
        together("predictions"),
        together("class_idx"),
        together("scores"),
        rows={pair: in_order(part["rows"][pair] for part in parts) for pair in parts[0]["rows"]},
        small_maps={method: in_order(_small_maps_of(parts, method)) for method in sorted(methods)},
        passes=passes,
        reasons=reasons,
        annotated={kind: in_order(part["annotated"][kind] for part in parts) for kind in parts[0]["annotated"]},
        left_out={name: sorted(indices) for name, indices in left_out.items()},
        # A part whose images show one class each, or that an earlier version kept, has nothing beside its rows.
        beside={
            key: in_order(part.get("beside", {}).get(key, part["rows"][key[0], key[2]]) for part in parts)
            for key in dict.fromkeys(key for part in parts for key in part.get("beside", {}))
        },
        flat={
            method: in_order(part["flat"][method] for part in parts)
            for method in parts[0].get("flat", {})
            if all(method in part.get("flat", {}) for part in parts)
        },
        confidences=in_order(part.get("confidences", _confidences(part)) for part in parts),
        shown=together("shown") if several else None,
        probabilities=together("probabilities") if several else None,
    )


def _confidences(part: dict[str, Any]) -> Tensor:
    """The probabilities of the predicted classes as far as they are those of the explained ones."""
    return torch.where(part["predictions"] == part["class_idx"], part["scores"], torch.nan)


def _small_maps_of(parts: Sequence[dict[str, Any]], method: str) -> list[Tensor]:
    """The small maps of a method, part by part, of one size; zeros where it made none, which are not shown."""
    size = next(part["small_maps"][method].shape[1:] for part in parts if method in part["small_maps"])
    none = (torch.zeros(len(part["indices"]), *size, dtype=torch.uint8) for part in parts)
    maps = [part["small_maps"].get(method, zeros) for part, zeros in zip(parts, none, strict=True)]
    return [_of_size(each, (size[0], size[1])) for each in maps]


def _of_size(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Small maps of a part whose images have another size than those of the first; shown, they are stretched back."""
    return maps if maps.shape[1:] == size else resize(maps.float(), size).round().to(torch.uint8)
