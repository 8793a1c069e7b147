"""Scores the maps of several methods on batch after batch, in shared forward passes."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from camtrain.batch import Batch, are_finite, finite_images
from camtrain.cams import normalize
from camtrain.controls import ShuffledMap, donors
from camtrain.evaluation.annotated_boxes import annotation_of
from camtrain.evaluation.class_probabilities import ClassProbabilities
from camtrain.evaluation.evaluation_settings import EvaluationSettings
from camtrain.evaluation.explained_target import ExplainedTarget
from camtrain.evaluation.measured import ExplainedBatch, Measured, Measurements
from camtrain.evaluation.metric_specs import METRICS, metric_names, needs_by_name
from camtrain.evaluation.need import ComparisonNeed, GradientNeed, MapNeed, Need, ProbabilityNeed
from camtrain.evaluation.several_labels import (
    SOME_CLASSES,
    checked_shown,
    drawn_class,
    joined_left_out,
    joined_rows,
    rounds_of,
    rows_beside,
)
from camtrain.gradients import evaluation_mode, fixed_class, gradients_enabled, left_as_found
from camtrain.methods import (
    CONTROLS,
    SHUFFLED,
    Method,
    control_of,
    is_control,
    is_normalized,
    is_registered,
    method_title,
    resized_maps,
)
from camtrain.metrics import AdditiveScore
from camtrain.probabilities import log_probabilities, with_both_classes
from camtrain.regions import regions

NETWORK = "network"
"""The key of the scores of the network itself, in the place of a method."""

NO_CLASS = "class"
"""The key of images that show none of the classes, so that there is no class whose map could be made."""

IMAGE = "image"
"""The key of images that are not finite, or of which the network says nothing finite, in `Evaluator.reasons`."""

Rows = dict[tuple[str, str], Tensor]
"""(N, S) rows by method and metric."""

_TRUTHS = {"boxes": "boxes", "masks": "masks", "any": "boxes or masks"}
"""The annotations by their names in `EvaluationSettings.annotation` and in `Evaluator.truths`."""

_Kind = TypeVar("_Kind", bound=Need)


@dataclass
class Evaluated:
    """The evaluation of a batch.

    Attributes:
        rows: The rows of every (method, metric) pair; zeros for a method that made no map.
        cams: (N, H, W) normalized maps by method, without those of controls.
        class_idx: (N,) explained classes.
        scores: (N,) probabilities of the explained classes; NaN for an image that is left out of every score.
        predictions: (N,) predicted classes; -1 for an image that is left out of every score.
        probabilities: (N, K) probabilities of all classes.
        annotated: (N,) bool: the images with annotation, by what maps are compared with (see `Evaluator.truths`).
        left_out: (N,) bool: the images that are not counted, by the keys of `Evaluator.reasons`.
        beside: The rows of a method over what also counts for another one, (N, S) by method, other and metric, where an
            image has several maps; see `Evaluator.compared`.
    """

    rows: Rows
    cams: dict[str, Tensor]
    class_idx: Tensor
    scores: Tensor
    predictions: Tensor
    probabilities: Tensor
    annotated: dict[str, Tensor]
    left_out: dict[str, Tensor]
    beside: dict[tuple[str, str, str], Tensor] = field(default_factory=dict)


def what_is_missing(name: str, which: str = "some images") -> str:
    """A sentence that says what is missing, for a key of `Evaluator.reasons`.

    Args:
        name: The key.
        which: The images of which it is missing.

    Example:
        >>> what_is_missing("grad_cam")
        'Grad-CAM made no map of some images, which are not counted'
        >>> what_is_missing("grad_cam/masked_cams")
        'Grad-CAM made no map of the masked image for some images, which are not counted where it is needed'
        >>> what_is_missing("grad_cam/some classes")
        'Grad-CAM made no map of some classes of some images, which are not counted'
    """
    return _sentence(name).replace("some images", which)


def _sentence(name: str) -> str:
    if name.endswith(SOME_CLASSES):
        return _sentence(name.removesuffix(SOME_CLASSES)).replace("some images", "some classes of some images")
    if name == NETWORK:
        return "gradients of the network are missing for some images, which are not counted"
    if name == NO_CLASS:
        return "some images show none of the classes, and have no map that could be scored"
    if name == IMAGE:
        return "the network says nothing of some images, which are no part of any score"
    method, _, need = name.partition("/")
    title = method_title(method)
    if need:
        return needs_by_name().get(need, Need(name=need)).missing(title)
    return f"{title} made no map of some images, which are not counted"


class Evaluator:
    """Scores the maps of several methods on the same images.

    The network classifies each image once. Changed images (masked, or steps of insertion and deletion) of all methods
    run through it together, in full passes. The first images of insertion and the last ones of deletion are the same
    for all methods and run once. The network is in evaluation mode during a call, and is left as found.

    If a method makes no map of a batch, `reasons` says why, and the images of the batch are not counted for it. What is
    not finite is treated in the same way by every score: an image is left out of the scores that need it, and is never
    counted as a miss or a hit. An image that is not finite itself, or whose probabilities are not, is left out of every
    score and of the accuracy; an image whose map is not finite, of every score of the method; and an image of which
    something further is not finite or missing, such as the map of the masked image, the probability on a changed image,
    or a gradient, of the scores that need this. Which images these are is in `Evaluated.left_out`.

    Controls are scored beside the methods, by the metrics whose score of a control says something (see
    `MetricSpec.has_control`), and change no score of a method. The maps of a method that is scored anyway are shuffled
    without making them again. Where a metric needs a further map, such as that of the masked image, a shuffled control
    takes the method's own: only the map that is scored is another image's.

    Args:
        network: A network from (N, C, H, W) images to (N, K) logits.
        methods: The methods to score, by name; each explains this network.
        metrics: Names of metrics, or of groups of metrics (see `metric_names`).
        settings: The choices that change the numbers; `None` takes the defaults.
        max_batch: The largest number of images in one forward pass; bounds the memory.
        controls: Controls to score beside the methods, by name; `None` scores none.
        several_labels: Whether the network was trained with images that show several classes: the probability of a
            class is then the sigmoid of its logit. Labels (N, K) of a batch say so, too.

    Attributes:
        methods: The methods, by name.
        controls: The controls that are not among the methods, by name.
        metrics: The names of the metrics.
        settings: The settings of the evaluation.
        reasons: Why a method made no map (by the name of the method), no further map or probability (by
            `<method>/<need>`), why gradients of the network are missing (by `NETWORK`), or why an image is no part of
            any score (by `IMAGE`). With `SOME_CLASSES` behind it, a key is about images of which other maps count. Each
            entry is the first reason.
        passes: The number of images run through the network, by need, and "image" for the images themselves. Passes
            that make maps are not included.
        images: The number of images evaluated.
        needs: What is measured beside the maps, by name.
        truths: What maps are compared with: "boxes", "masks" and "boxes or masks", as far as a metric needs them.

    Raises:
        ValueError: If a metric is unknown, there is no method, or the network has fewer layers than stages.

    Cost:
        For each image, beside its maps: one pass; for each method, one pass with the masked image, `num_steps` - 1 for
        insertion and for deletion each, and two for each fraction that ROAD removes. ADCC and `ClassSensitivity` take
        one further map each, and `ParameterRandomization` takes one for each stage. Map leakage takes one pass for the
        image and two for each method. A control takes the passes of a method.

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
        controls: Mapping[str, Method] | None = None,
        *,
        several_labels: bool = False,
    ) -> None:
        if not methods:
            raise ValueError("`methods`: expected at least one, got none")
        self.network = network
        self.methods = dict(methods)
        self.controls = {name: control for name, control in (controls or {}).items() if name not in self.methods}
        self.settings = settings or EvaluationSettings()
        self.metrics = metric_names(metrics, self.settings.class_of)
        self.probabilities = ClassProbabilities(network, max_batch)
        if several_labels:
            self.take_classes_for_independent()
        self.reasons: dict[str, str] = {}
        self.passes: Counter[str] = Counter()
        self.images = 0
        self._metrics = {name: METRICS[name].make(self.settings) for name in self.metrics}
        self._needs_of = {name: [need.name for need in METRICS[name].needs] for name in self.metrics}
        needed = {need for needs in self._needs_of.values() for need in needs}
        self.needs = {name: need for name, need in needs_by_name().items() if name in needed}
        self._kinds = self._kinds_of_truth()
        self.truths = [_TRUTHS[kind] for kind in self._kinds]
        for need in self.needs.values():
            if need.check:
                need.check(network, self.settings)

    def metric(self, metric: str) -> AdditiveScore:
        """The metric of a name, which computes scores from rows. It counts nothing itself."""
        return self._metrics[metric]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The (method, metric) pairs that are scored. The method is `NETWORK` for a metric of the network itself."""
        of_network = [name for name in self.metrics if METRICS[name].of_network]
        of_maps = [name for name in self.metrics if name not in of_network]
        of_controls = [name for name in self.metrics if METRICS[name].has_control]
        return [
            *((method, name) for method in self.methods for name in of_maps),
            *((control, name) for control in self.controls for name in of_controls),
            *((NETWORK, name) for name in of_network),
        ]

    @property
    def all_maps(self) -> dict[str, Method]:
        """The methods and controls, by name."""
        return self.methods | self.controls

    @property
    def compared(self) -> list[tuple[str, str]]:
        """Each method with each of the controls that it can be compared with; a shuffled one is that of its method."""
        others = {
            method: [name for name in self.all_maps if name in CONTROLS or name == control_of(SHUFFLED, method)]
            for method in self.methods
            if not is_control(method)
        }
        return [(method, other) for method, names in others.items() for other in names]

    def needs_of(self, method: str) -> set[str]:
        """The names of all needs that are measured for a method or control."""
        scored = [name for name in self.metrics if method in self.methods or METRICS[name].has_control]
        return {need for name in scored for need in self._needs_of[name]}

    def note(self, name: str, error: Exception) -> None:
        """Add an entry to `reasons`, unless there is one of this name."""
        self.reasons.setdefault(name, " ".join(str(error).split()) or type(error).__name__)

    def __call__(self, batch: Batch) -> Evaluated:
        """Evaluate a batch.

        Raises:
            ValueError: If labels are needed and unknown or out of range, or the annotation is malformed.
        """
        with gradients_enabled(), evaluation_mode(self.network), left_as_found(self.network, batch.images.device):
            explained, answered = self._explained(batch)
            if self.settings.class_of != "every_label" or explained.shown is None:
                found = _OneBatch(self, explained).evaluated()
            else:
                found = self._of_every_label(explained, explained.shown)
            return self._with_answers(found, explained, answered)

    def _of_every_label(self, explained: ExplainedBatch, shown: Tensor) -> Evaluated:
        """The evaluation of all maps of the images, class by class: in each round, an image occurs once."""
        known = dict(self.reasons)
        found = [
            (images, _OneBatch(self, explained.subset(images, classes)).evaluated())
            for images, classes in rounds_of(shown, explained.probabilities)
        ]
        rows, left_out = joined_rows(found, self._is_counted), joined_left_out(found)
        beside = rows_beside(found, self._is_counted, [*self.compared, *((other, one) for one, other in self.compared)])
        why = self.reasons
        # An image that has another map which counts is not left out.
        self.reasons = {name: each for name, each in why.items() if name in known or name in left_out}
        for name in left_out:
            if name.endswith(SOME_CLASSES):
                self.reasons.setdefault(name, why[name.removesuffix(SOME_CLASSES)])
        return replace(found[0][1], rows=rows, left_out=left_out, beside=beside)

    def _is_counted(self, metric: str, rows: Tensor) -> Tensor:
        """(N,) bool: the images that count for a metric."""
        return self.metric(metric).image_scores(rows).isfinite()

    def _with_answers(self, found: Evaluated, explained: ExplainedBatch, answered: Tensor) -> Evaluated:
        """The evaluation with what the network says of images that show no class, and why these have no map."""
        if bool((answered == explained.usable).all()):
            return found
        predictions = torch.where(answered, explained.probabilities.argmax(dim=1), -1)
        without = (answered & ~explained.usable).cpu()
        self.note(NO_CLASS, ValueError("none of their labels is 1"))
        left_out = {name: which & ~without for name, which in found.left_out.items()}
        left_out = {name: which for name, which in left_out.items() if bool(which.any())} | {NO_CLASS: without}
        return replace(found, predictions=predictions, left_out=left_out)

    def _explained(self, batch: Batch) -> tuple[ExplainedBatch, Tensor]:
        """Classify the images and choose the classes to explain; (N,) bool, of which the network says anything."""
        # A tensor from an inference-mode loop cannot enter a graph; its clone can.
        images = batch.images.detach().clone()
        usable = torch.ones(len(batch), dtype=torch.bool, device=images.device)
        if not are_finite(images):
            usable = finite_images(images)
            self.note(IMAGE, ValueError("the image holds NaN or infinity"))
            images[~usable] = 0.0  # so that it cannot spread to other images of the batch
        batch = replace(batch, images=images, labels=self._checked_labels(batch.labels))
        probabilities = self.probabilities.of_all(images)
        answered = finite_images(probabilities)
        if not bool((answered | ~usable).all()):
            self.note(IMAGE, ValueError("its probabilities are not finite"))
        usable = usable & answered
        probabilities = torch.where(usable.unsqueeze(1), probabilities, 1 / probabilities.shape[1])
        self.passes["image"] += len(batch)
        self.images += len(batch)
        if not isinstance(self.network, ExplainedTarget):
            self._check_labels(batch.labels, probabilities.shape[1])
        class_idx = self._explained_classes(batch, probabilities)
        answered = usable
        if self.settings.class_of != "prediction" and batch.labels is not None and batch.labels.dim() == 2:
            usable = usable & (batch.labels == 1).any(dim=1)
        return ExplainedBatch(batch, self.network, self.settings, probabilities, class_idx, usable), answered

    def take_classes_for_independent(self) -> None:
        """An image may show several classes: measure sigmoids, and let the methods by name explain these."""
        self.probabilities.independent = True
        for name, method in self.all_maps.items():
            made = method.method if isinstance(method, ShuffledMap) else method
            if hasattr(made, "independent_classes") and not is_registered(name):
                made.independent_classes = True

    def _checked_labels(self, labels: Tensor | None) -> Tensor | None:
        """Labels as they are scored: (N,), or (N, K) of zeros and ones, which say that classes are independent."""
        if labels is None or labels.dim() != 2:
            return labels
        shown = checked_shown(labels)
        if labels.shape[1] == 1:
            return shown.squeeze(1).long()
        self.take_classes_for_independent()
        return labels

    def _check_labels(self, labels: Tensor | None, num_logits: int) -> None:
        of_data = self.settings.num_classes if "pointing_game" in self.metrics else None
        classes = [of_data, num_logits if self.settings.class_of != "prediction" else None]
        count = min((each for each in classes if each is not None), default=None)
        if labels is not None and labels.dim() == 2:
            if labels.shape[1] != num_logits:
                raise ValueError(f"`labels`: expected those of {num_logits} classes, got {labels.shape[1]}")
            return
        if labels is None or count is None:
            return
        bad = labels[(labels < 0) | (labels >= count)]
        if len(bad):
            raise ValueError(f"`labels`: expected classes from 0 to {count - 1}, got {int(bad[0])}")

    def _explained_classes(self, batch: Batch, probabilities: Tensor) -> Tensor:
        labels = batch.labels
        if isinstance(self.network, ExplainedTarget):  # no class: why the number is high
            return torch.ones(len(batch), dtype=torch.long, device=probabilities.device)
        if self.settings.class_of == "prediction":
            return probabilities.argmax(dim=1)
        if labels is None:
            raise ValueError(
                f'`class_of`: expected "prediction" where labels are unknown, got "{self.settings.class_of}"'
            )
        if labels.dim() == 2:
            return drawn_class(batch.images, labels == 1, self.settings.seed)
        return fixed_class(probabilities, labels)  # type: ignore[return-value]  # labels are no Contrast

    def _kinds_of_truth(self) -> list[Literal["boxes", "masks", "any"]]:
        """The kinds of annotation that metrics need, as `annotation_of` takes them."""
        needed = {METRICS[name].truth for name in self.metrics}
        kinds: tuple[Literal["boxes", "masks", "any"], ...] = ("boxes", "masks", "any")
        return [
            kind for kind in kinds
            if kind in needed or (kind == self.settings.annotation and "annotation" in needed)
        ]  # fmt: skip


@dataclass
class _OneBatch:
    """The evaluation of one batch.

    Attributes:
        evaluator: The evaluator, whose `passes` and `reasons` are updated.
        batch: The explained batch.
        measured: What was measured of each method that made a map.
        network: What was measured of the network itself.
        left_out: (N,) bool: the images that are not counted, by the keys of `Evaluator.reasons`.
    """

    evaluator: Evaluator
    batch: ExplainedBatch
    measured: dict[str, Measured] = field(default_factory=dict)
    network: Measurements = field(init=False)
    left_out: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.network = Measurements(batch=self.batch, usable=self.batch.usable)
        if not bool(self.batch.usable.all()):
            self.left_out[IMAGE] = ~self.batch.usable

    def evaluated(self) -> Evaluated:
        """Make the maps, measure all needs, and compute the rows."""
        self._make_maps()
        self._run_variants()
        for comparison in self._needs(ComparisonNeed):
            self._compare(comparison)
        for further in self._needs(MapNeed):
            self._make_further_maps(further)
        self._take_gradients()
        usable = self.batch.usable
        return Evaluated(
            {(method, name): self._rows(method, name) for method, name in self.evaluator.pairs},
            {method: each.cams for method, each in self.measured.items() if method in self.evaluator.methods},
            self.batch.class_idx,
            torch.where(usable, self.batch.scores, torch.nan),
            torch.where(usable, self.batch.probabilities.argmax(dim=1), -1),
            self.batch.probabilities,
            self._annotated(),
            {name: which.cpu() for name, which in self.left_out.items()},
        )

    def _needs(self, kind: type[_Kind]) -> list[_Kind]:
        return [need for need in self.evaluator.needs.values() if isinstance(need, kind)]

    def _annotated(self) -> dict[str, Tensor]:
        size = (int(self.batch.images.shape[2]), int(self.batch.images.shape[3]))
        known = {_TRUTHS[kind]: annotation_of(self.batch.batch, kind) for kind in self.evaluator._kinds}
        return {name: regions(annotation, size).flatten(1).any(dim=1) for name, annotation in known.items()}

    def _make_maps(self) -> None:
        for index, (name, method) in enumerate(self.evaluator.all_maps.items()):
            known = self.measured.get(name.removeprefix(f"{SHUFFLED}_"))
            if isinstance(method, ShuffledMap) and known is not None:
                raw = self._shuffled_map(method, name, known)
            else:
                raw = self._raw_map(method, name, self.batch.images, self.batch.class_idx)
            if raw is not None:
                usable = self.batch.usable & _finite(raw)
                self._leave_out(name, self.batch.usable & ~usable, "the map is not finite")
                raw = torch.where(usable.view(-1, 1, 1), raw, 0.0)
                self.measured[name] = Measured(
                    batch=self.batch,
                    usable=usable,
                    raw_cams=raw,
                    method=index,
                    is_normalized=is_normalized(method),
                    lenders=donors(self.batch.class_idx, method.seed) if isinstance(method, ShuffledMap) else None,
                )

    def _shuffled_map(self, control: ShuffledMap, name: str, measured: Measured) -> Tensor | None:
        """(N, H, W) maps that were made already, each of another image; `None` if there is only one image."""
        try:
            others = donors(self.batch.class_idx, control.seed)
        except ValueError as error:
            self._leave_out(name, self.batch.usable, error)
            return None
        return torch.where(measured.usable.view(-1, 1, 1), measured.raw_cams, torch.nan)[others]

    def _raw_map(self, method: Method, reason: str, images: Tensor, class_idx: Tensor) -> Tensor | None:
        """(N, H, W) maps; `None` if the method makes none, which is noted under the name `reason`."""
        try:
            return resized_maps(method, images, class_idx).detach()
        except torch.OutOfMemoryError:  # not the fault of the method: a smaller batch may help
            raise
        except (ValueError, RuntimeError) as error:
            self._leave_out(reason, self.batch.usable, error)
            return None

    def _leave_out(self, name: str, which: Tensor, why: str | Exception) -> None:
        """Note which (N,) bool images are not counted, and why, under a key of `Evaluator.reasons`."""
        if bool(which.any()):
            self.evaluator.note(name, ValueError(why) if isinstance(why, str) else why)
            self.left_out[name] = self.left_out.get(name, torch.zeros_like(which)) | which

    def _run_variants(self) -> None:
        """Run the changed images of all methods through the network, and hand the probabilities to their needs."""
        needs = self._needs(ProbabilityNeed)
        shared: dict[str, list[Tensor]] = {need.name: [] for need in needs}
        own = {method: {need.name: list[Tensor]() for need in needs} for method in self.measured}
        # The lists that wait for the probabilities of the variants drawn so far: the generator runs ahead of its
        # results by at most one pass, and both are in the same order.
        waiting: deque[list[Tensor]] = deque()

        def drawn(need: ProbabilityNeed, variants: Iterable[Tensor], into: list[Tensor]) -> Iterator[Tensor]:
            for images in variants:
                waiting.append(into)
                self.evaluator.passes[need.name] += len(images)
                yield images

        def variants() -> Iterator[Tensor]:
            for need in needs:
                yield from drawn(need, need.shared(self.batch), shared[need.name])
            for method, measured in self.measured.items():
                for need in needs:
                    if need.name in self.evaluator.needs_of(method):
                        yield from drawn(need, need.variants(self.batch, measured), own[method][need.name])
                measured.release_ranks()

        for scores in self.evaluator.probabilities.of_class(variants(), self.batch.class_idx):
            waiting.popleft().append(scores)
        for method, measured in self.measured.items():
            for need in needs:
                if need.name in self.evaluator.needs_of(method):
                    found = [shared[need.name], own[method][need.name]]
                    found = [self._finite_scores(measured, method, need.name, each) for each in found]
                    measured.further[need.name] = need.assembled(measured, *found)

    def _finite_scores(self, measured: Measured, method: str, need: str, scores: list[Tensor]) -> list[Tensor]:
        """(N,) probabilities on changed images, 0 for images of which one is not finite. These are not counted."""
        if not scores:
            return scores
        what = "a probability on a changed image is not finite"
        return [*self._finite_part(measured, need, torch.stack(scores, dim=1), f"{method}/{need}", what).unbind(dim=1)]

    def _compare(self, need: ComparisonNeed) -> None:
        compared = need.compared(self.batch, [self.measured.get(method) for method in self.evaluator.methods])
        for measured in self.measured.values():
            measured.further[need.name] = compared

    def _make_further_maps(self, need: MapNeed) -> None:
        maps: dict[str, list[Tensor]] = {
            method: [] for method in self.measured if need.name in self.evaluator.needs_of(method)
        }
        for _ in need.stages(self.batch) if need.stages else [None]:
            for method in list(maps):
                measured, maker = self.measured[method], self.evaluator.all_maps[method]
                maker = maker.method if isinstance(maker, ShuffledMap) else maker
                raw = self._raw_map(maker, f"{method}/{need.name}", *need.question(self.batch, measured))
                if raw is None:
                    del maps[method]  # the metric needs the map of every stage
                else:
                    raw = self._finite_part(measured, need.name, raw, f"{method}/{need.name}", "the map is not finite")
                    maps[method].append(raw if is_normalized(maker) else normalize(raw))
        for method, of_stages in maps.items():
            result = torch.stack(of_stages, dim=1) if need.stages else of_stages[0]
            self.measured[method].further[need.name] = result

    def _take_gradients(self) -> None:
        """Take gradients of the classification loss with the explained classes as labels.

        The loss is a sum, so that the gradient of an image does not depend on the number of images.
        """
        needs = self._needs(GradientNeed)
        if not needs:
            return
        images = self.batch.images.detach().requires_grad_()
        logits = with_both_classes(self.evaluator.network(images).float())
        if self.evaluator.probabilities.independent:
            loss = -log_probabilities(logits, self.batch.class_idx, independent=True).sum()
        else:
            loss = F.cross_entropy(logits, self.batch.class_idx, reduction="sum")
        for need in needs:
            try:
                gradient = need.gradient(loss, images).detach()
            except ValueError as error:  # such as a network without a ReLU to guide
                self._leave_out(NETWORK, self.batch.usable, error)
                continue
            gradient = self._finite_part(self.network, need.name, gradient, NETWORK, f"{need.what} is not finite")
            self.network.further[need.name] = gradient

    def _finite_part(self, measured: Measurements, need: str, values: Tensor, reason: str, what: str) -> Tensor:
        """(N, ...) values, zeros for images with a value that is not finite. These images are not counted."""
        finite = _finite(values)
        if bool(finite.all()):
            return values
        # Where the map itself was the reason, it is noted.
        self._leave_out(reason, measured.usable & ~finite, what)
        measured.finite[need] = measured.finite.get(need, measured.usable) & finite
        return torch.where(finite.view(-1, *[1] * (values.dim() - 1)), values, 0.0)

    def _rows(self, method: str, name: str) -> Tensor:
        metric, needs = self.evaluator.metric(name), self.evaluator._needs_of[name]
        measured = self.network if method == NETWORK else self.measured.get(method)
        if measured is None or not measured.has(needs):
            return torch.zeros(len(self.batch.images), len(metric.total), dtype=torch.float64)
        rows = metric.rows(*METRICS[name].arguments(measured)).double().cpu()
        # An image without a map or gradient was measured with zeros in its place: its row is removed.
        return torch.where(measured.counted(needs).cpu().unsqueeze(1), rows, 0.0)


def _finite(values: Tensor) -> Tensor:
    """(N,) bool: the images all of whose values (N, ...), and their sum, are finite, as normalized maps need it."""
    wide = torch.promote_types(values.dtype, torch.float32)
    return values.abs().flatten(1).sum(dim=1, dtype=wide).isfinite()
