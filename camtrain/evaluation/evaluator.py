"""Scores the maps of several methods on batch after batch, with the passes of all of them put together."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from camtrain.batch import Batch
from camtrain.cams import normalize
from camtrain.evaluation.annotated_boxes import annotated_boxes
from camtrain.evaluation.blurred import blurred
from camtrain.evaluation.class_probabilities import ClassProbabilities
from camtrain.evaluation.evaluation_settings import EvaluationSettings, Substrate
from camtrain.evaluation.imputed import removed_and_imputed
from camtrain.evaluation.masked_image import masked_images
from camtrain.evaluation.measured import Gradients, Measured
from camtrain.evaluation.metric_specs import METRICS, metric_names
from camtrain.evaluation.randomized_layers import layers_with_parameters, randomized_layers
from camtrain.evaluation.removal_path import path_images, removal_ranks
from camtrain.gradients import (
    evaluation_mode,
    fixed_class,
    gradients_enabled,
    guided_gradient,
    input_gradient,
    left_as_found,
)
from camtrain.methods import TITLES, Method, resized_maps
from camtrain.metrics import AdditiveScore, Annotation
from camtrain.regions import regions

NETWORK = "network"
"""In the place of a method: scores of the network itself."""

_ALL = ""  # in the place of a method: what no map changes
_MAP = ""  # in the place of a need: the map itself
_FURTHER_MAPS = {
    "masked_cams": "the masked image",
    "other_cams": "another class",
    "randomized_cams": "the randomized network",
}

Rows = dict[tuple[str, str], Tensor]
"""(N, S) by method and metric."""


@dataclass
class Evaluated:
    """What is said of a batch.

    Attributes:
        rows: of every method and metric; zeros for a method that made no map.
        cams: (N, H, W) normalized maps by method.
        class_idx: (N,) the explained classes.
        scores: (N,) their probabilities.
        predictions: (N,) the predicted classes.
        annotated: (N,) bool, which images have what maps are compared with, by "boxes" and "masks".
    """

    rows: Rows
    cams: dict[str, Tensor]
    class_idx: Tensor
    scores: Tensor
    predictions: Tensor
    annotated: dict[str, Tensor]


def what_is_missing(name: str) -> str:
    """What a reason in `Evaluator.reasons` explains, by its name there.

    Example:
        >>> what_is_missing("grad_cam")
        'Grad-CAM made no map of some images, which are not counted'
    """
    if name == NETWORK:
        return "gradients of the network are missing for some images, which are not counted"
    method, _, need = name.partition("/")
    title = TITLES.get(method, method)
    if need:
        return f"{title} made no map of {_FURTHER_MAPS[need]} for some images, which are not counted where it is needed"
    return f"{title} made no map of some images, which are not counted"


class Evaluator:
    """Scores the maps of several methods on the same images.

    The network says once what each image shows. What it says of changed images, masked ones and those on the way of an
    insertion or a deletion, of every method, runs in full batches. The ends of these ways, which no map changes, are
    run once for all methods. The network is in evaluation mode meanwhile, and left as found.

    A method that makes no map of a batch is noted in `reasons`, and its images are not counted for it. An image whose
    map or gradient is not finite is not counted either. Where it makes no further map, of the masked image for
    instance, only the scores that need that one do without these images.

    Args:
        network: from (N, 3, H, W) to (N, K) logits.
        methods: by their names, each of this network.
        metrics: names of scores, or of groups of them (see `metric_names`).
        settings: what changes the numbers.
        max_batch: most images in one pass; it bounds the memory.

    Attributes:
        metrics: names of the scores.
        settings: as given.
        reasons: why a method made no map, by its name, or no further one, by `<method>/<need>`, or why gradients of the
            network are missing, by `NETWORK`; the first reason of each.
        passes: images run through the network, by what for; those that make the maps are not in it.
        images: how many images were evaluated.
        needs: names of what is measured beside the maps, in `Measured.further`.
        truths: what maps are compared with: "boxes", "masks", both or nothing.

    Raises:
        ValueError: if a score has no such name, there is no method, or the network has fewer layers than stages.

    Cost:
        For each image, beside its maps: one pass, and for each method one with the masked image,
        `num_steps` - 1 for insertion and as many for deletion, and two for each share that ROAD removes. ADCC and
        `ClassSensitivity` take one more map each, `ParameterRandomization` one for each stage.

    Example:
        >>> from camtrain.methods import method_named
        >>> from camtrain.networks import CIFARResNet
        >>> network = CIFARResNet(depth=8)
        >>> evaluator = Evaluator(network, {"grad_cam": method_named("grad_cam", network)}, ["average_drop"])
        >>> rows = evaluator(Batch(torch.rand(4, 3, 16, 16))).rows
        >>> rows["grad_cam", "average_drop"].shape
        torch.Size([4, 2])
        >>> sum(evaluator.passes.values())  # 4 images and their masked ones
        8
    """

    def __init__(
        self,
        network: nn.Module,
        methods: Mapping[str, Method],
        metrics: Sequence[str] = ("fast",),
        settings: EvaluationSettings | None = None,
        max_batch: int = 64,
    ) -> None:
        if not methods:
            raise ValueError("`methods`: expected at least one, got none")
        self.network = network
        self.methods = dict(methods)
        self.metrics = metric_names(metrics)
        self.settings = settings or EvaluationSettings()
        self.probabilities = ClassProbabilities(network, max_batch)
        self.reasons: dict[str, str] = {}
        self.passes: Counter[str] = Counter()
        self.images = 0
        self._metrics = {name: METRICS[name].make(self.settings) for name in self.metrics}
        self.needs = {need for name in self.metrics for need in METRICS[name].needs}
        kinds = {METRICS[name].truth for name in self.metrics}
        self.truths = [
            kind
            for kind in ("boxes", "masks")
            if kind in kinds or (kind == self.settings.annotation and "annotation" in kinds)
        ]
        if "randomized_cams" in self.needs:
            layers_with_parameters(network, self.settings.num_stages)

    def metric(self, metric: str) -> AdditiveScore:
        """What the rows of a metric are worth; it counts nothing itself."""
        return self._metrics[metric]

    @property
    def cells(self) -> list[tuple[str, str]]:
        """Method and metric of all that is scored; `NETWORK` is the method of what is scored of the network."""
        of_network = [name for name in self.metrics if METRICS[name].of_network]
        of_maps = [name for name in self.metrics if name not in of_network]
        return [(method, name) for method in self.methods for name in of_maps] + [
            (NETWORK, name) for name in of_network
        ]

    def note(self, method: str, error: Exception) -> None:
        """Keep the first reason why a method made no map."""
        self.reasons.setdefault(method, " ".join(str(error).split()) or type(error).__name__)

    def __call__(self, batch: Batch) -> Evaluated:
        """Evaluate a batch.

        Raises:
            ValueError: if labels are asked for and unknown or out of range, or the annotation is bad.
        """
        with gradients_enabled(), evaluation_mode(self.network), left_as_found(self.network, batch.images.device):
            return _OneBatch(self, batch).evaluated()


@dataclass
class _OneBatch:
    """The evaluation of one batch: what all methods share, and what was measured of each that made a map."""

    evaluator: Evaluator
    batch: Batch
    measured: dict[str, Measured] = field(default_factory=dict)
    gradients: Gradients | None = None
    # (N,) bool by method and need, where something is not finite.
    usable: dict[tuple[str, str], Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # What came out of an inference-mode loop cannot enter a graph; a clone can.
        self.images = self.batch.images.detach().clone()
        self.settings, self.needs = self.evaluator.settings, self.evaluator.needs
        self.probabilities = self.evaluator.probabilities.of_all(self.images)
        self.evaluator.passes["image"] += len(self.images)
        self.evaluator.images += len(self.images)
        self._check_labels()
        self.class_idx = self._explained_classes()
        self.scores = self.probabilities.gather(1, self.class_idx.unsqueeze(1)).squeeze(1)
        self.truth = _truth(self.batch, self.settings.annotation)

    def evaluated(self) -> Evaluated:
        """The whole of it."""
        self._make_maps()
        self._run_variants()
        self._make_further_maps()
        self._take_gradients()
        return Evaluated(
            {(method, name): self._rows(method, name) for method, name in self.evaluator.cells},
            {method: measured.cams for method, measured in self.measured.items()},
            self.class_idx,
            self.scores,
            self.probabilities.argmax(dim=1),
            self._annotated(),
        )

    def _annotated(self) -> dict[str, Tensor]:
        _, _, boxes, masks = self.truth
        size = (int(self.images.shape[2]), int(self.images.shape[3]))
        known: dict[str, Annotation] = {"boxes": boxes, "masks": masks}
        return {kind: regions(known[kind], size).flatten(1).any(dim=1) for kind in self.evaluator.truths}

    def _check_labels(self) -> None:
        labels = self.batch.labels
        of_data = self.settings.num_classes if "pointing_game" in self.evaluator.metrics else None
        classes = [of_data, self.probabilities.shape[1] if self.settings.class_of == "label" else None]
        count = min((each for each in classes if each is not None), default=None)
        if labels is None or count is None:
            return
        bad = labels[(labels < 0) | (labels >= count)]
        if len(bad):
            raise ValueError(f"`labels`: expected classes from 0 to {count - 1}, got {int(bad[0])}")

    def _explained_classes(self) -> Tensor:
        if self.settings.class_of == "prediction":
            return self.probabilities.argmax(dim=1)
        if self.batch.labels is None:
            raise ValueError('`class_of`: expected "prediction" where labels are unknown, got "label"')
        return fixed_class(self.probabilities, self.batch.labels)  # type: ignore[return-value]  # labels are no Contrast

    def _make_maps(self) -> None:
        for index, name in enumerate(self.evaluator.methods):
            raw = self._raw_map(name, _MAP, self.images, self.class_idx)
            if raw is not None:
                known = (raw, normalize(raw), self.class_idx, self.scores)
                self.measured[name] = Measured(*known, *self.truth, method=index)

    def _raw_map(self, method: str, need: str, images: Tensor, class_idx: Tensor) -> Tensor | None:
        """(N, H, W), or `None` where the method makes none, which is noted."""
        try:
            raw = resized_maps(self.evaluator.methods[method], images, class_idx).detach()
        except torch.OutOfMemoryError:  # that is no property of the method, and a smaller batch may help
            raise
        except (ValueError, RuntimeError) as error:
            self.evaluator.note(_reason_name(method, need), error)
            return None
        return self._finite(method, need, raw, "the map is not finite")

    def _finite(self, method: str, need: str, values: Tensor, what: str) -> Tensor:
        """The same, (N, ...), with zeros for images that have a value which is not finite: they are not counted."""
        finite = values.isfinite().flatten(1).all(dim=1)
        if bool(finite.all()):
            return values
        all_usable = torch.ones_like(finite)
        if bool((self.usable.get((method, _MAP), all_usable) & ~finite).any()):  # else the map itself was the reason
            self.evaluator.note(_reason_name(method, need), ValueError(what))
        self.usable[method, need] = self.usable.get((method, need), all_usable) & finite
        return torch.where(finite.view(-1, *[1] * (values.dim() - 1)), values, 0.0)

    def _run_variants(self) -> None:
        """What the network says of changed images, put where it belongs."""
        asked: list[tuple[str, str]] = []

        def variants() -> Iterator[Tensor]:
            for method, need, image in self._variants():
                asked.append((method, need))
                self.evaluator.passes[need] += len(image)
                yield image

        found: dict[tuple[str, str], list[Tensor]] = defaultdict(list)
        # The generator runs ahead of its results by at most one pass, and both are in one order.
        for position, scores in enumerate(self.evaluator.probabilities.of_class(variants(), self.class_idx)):
            found[asked[position]].append(scores)
        for method, measured in self.measured.items():
            measured.further |= self._of_passes({need: found[method, need] for need in self.needs}, found)
        if "compared_masked_scores" in self.needs:
            self._compare()

    def _variants(self) -> Iterator[tuple[str, str, Tensor]]:
        """Method, what for, and the changed images, (N, 3, H, W) each."""
        settings, images = self.settings, self.images
        start, end = self._substrate(settings.insertion_start), self._substrate(settings.deletion_end)
        if "insertion_curve" in self.needs:
            yield _ALL, "insertion_curve", start
        if "deletion_curve" in self.needs:
            yield _ALL, "deletion_curve", end
        for method, measured in self.measured.items():
            if "masked_scores" in self.needs:
                yield method, "masked_scores", masked_images(images, measured.cams)
            if {"insertion_curve", "deletion_curve", "removal_curves"} & self.needs:
                ranks = removal_ranks(measured.cams)
            if "insertion_curve" in self.needs:
                for image in path_images(start, images, ranks, settings.num_steps, ends=False):
                    yield method, "insertion_curve", image
            if "deletion_curve" in self.needs:
                for image in path_images(images, end, ranks, settings.num_steps, ends=False):
                    yield method, "deletion_curve", image
            if "removal_curves" in self.needs:
                for image in removed_and_imputed(images, ranks, settings.removed_shares, settings.seed):
                    yield method, "removal_curves", image

    def _substrate(self, kind: Substrate) -> Tensor:
        return blurred(self.images) if kind == "blur" else torch.zeros_like(self.images)

    def _of_passes(self, own: dict[str, list[Tensor]], found: dict[tuple[str, str], list[Tensor]]) -> dict[str, Tensor]:
        """What the passes say of one method."""
        further = {}
        if "masked_scores" in self.needs:
            further["masked_scores"] = own["masked_scores"][0]
        if "insertion_curve" in self.needs:
            curve = [*found[_ALL, "insertion_curve"], *own["insertion_curve"], self.scores]
            further["insertion_curve"] = torch.stack(curve, dim=1)
        if "deletion_curve" in self.needs:
            curve = [self.scores, *own["deletion_curve"], *found[_ALL, "deletion_curve"]]
            further["deletion_curve"] = torch.stack(curve, dim=1)
        if "removal_curves" in self.needs:
            further["removal_curves"] = torch.stack(own["removal_curves"], dim=1).view(len(self.scores), 2, -1)
        return further

    def _compare(self) -> None:
        none = torch.full_like(self.scores, torch.nan)
        of_all = [
            torch.where(self.usable.get((name, _MAP), torch.ones_like(none, dtype=torch.bool)),
                        self.measured[name].further["masked_scores"], none) if name in self.measured else none
            for name in self.evaluator.methods
        ]  # fmt: skip
        for measured in self.measured.values():
            measured.further["compared_masked_scores"] = torch.stack(of_all, dim=1)

    def _make_further_maps(self) -> None:
        """Maps of masked images, of another class, and of a network with other weights."""
        if "masked_cams" in self.needs:
            self._add_maps("masked_cams", lambda measured: masked_images(self.images, measured.cams), self.class_idx)
        if "other_cams" in self.needs:
            # The least probable of the other classes: the explained one itself may be the least probable of all.
            others = self.probabilities.scatter(1, self.class_idx.unsqueeze(1), torch.inf)
            self._add_maps("other_cams", lambda measured: self.images, others.argmin(dim=1))
        if "randomized_cams" in self.needs:
            self._randomize()

    def _add_maps(self, need: str, images_of: Callable[[Measured], Tensor], class_idx: Tensor) -> None:
        for name, measured in self.measured.items():
            raw = self._raw_map(name, need, images_of(measured), class_idx)
            if raw is not None:
                measured.further[need] = normalize(raw)

    def _randomize(self) -> None:
        stages: dict[str, list[Tensor]] = {name: [] for name in self.measured}
        for _ in randomized_layers(self.evaluator.network, self.settings.num_stages, self.settings.seed):
            for name in list(stages):
                raw = self._raw_map(name, "randomized_cams", self.images, self.class_idx)
                if raw is None:
                    del stages[name]  # the score wants the map of every stage
                else:
                    stages[name].append(normalize(raw))
        for name, maps in stages.items():
            self.measured[name].further["randomized_cams"] = torch.stack(maps, dim=1)

    def _take_gradients(self) -> None:
        """Of what L_C is in training, for the explained classes; each image has its own, whatever the batch size."""
        if "gradients" not in self.needs:
            return
        images = self.images.detach().requires_grad_()
        loss = F.cross_entropy(self.evaluator.network(images).float(), self.class_idx, reduction="sum")
        try:
            # The guided gradient needs the graph, and the other one frees it.
            guided = guided_gradient(loss, images) if "guided_gradients" in self.needs else None
        except ValueError as error:  # nothing to guide
            self.evaluator.note(NETWORK, error)
            guided = None
        of_input = input_gradient(loss, images).detach()
        of_input = self._finite(NETWORK, "gradients", of_input, "the input gradient is not finite")
        if guided is not None:
            guided = self._finite(NETWORK, "guided_gradients", guided, "the guided gradient is not finite")
        self.gradients = Gradients(of_input, guided)

    def _rows(self, method: str, name: str) -> Tensor:
        metric = self.evaluator.metric(name)
        measured = self.gradients if method == NETWORK else self.measured.get(method)
        if measured is None or not measured.has(METRICS[name].needs):
            return torch.zeros(len(self.images), len(metric.total), dtype=torch.float64)
        rows = metric.rows(*METRICS[name].arguments(measured)).double().cpu()
        # What an image without a map would count is taken out again.
        for need in (_MAP, *METRICS[name].needs):
            if (method, need) in self.usable:
                rows = rows * self.usable[method, need].cpu().unsqueeze(1)
        return rows


def _reason_name(method: str, need: str) -> str:
    return f"{method}/{need}" if need in _FURTHER_MAPS else method


def _truth(batch: Batch, annotation: Literal["boxes", "masks"]) -> tuple[Tensor, Annotation, list[Tensor], Tensor]:
    """Labels, the annotation that maps are compared with, boxes and masks; empty ones where they are unknown."""
    images = batch.images
    labels = torch.zeros(len(batch), dtype=torch.long, device=images.device) if batch.labels is None else batch.labels
    none = images.new_zeros(len(batch), *images.shape[-2:], dtype=torch.bool)
    masks = none if batch.masks is None else batch.masks.as_subclass(Tensor)
    boxes = annotated_boxes(batch)
    return labels, boxes if annotation == "boxes" else masks, boxes, masks
