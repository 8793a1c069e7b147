"""L = L_C + λ L_R for one batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

import torch
import torch.distributed
import torch.nn.functional as F
from torch import Tensor, nn

from camtrain.gradients import Engine, EngineOutput, FrozenGates, InputGradientPenalty, gradients_enabled, left_as_found
from camtrain.gradients.engine import ClassificationLoss, forward_pass, input_gradients, penalties
from camtrain.gradients.not_inference import not_inference
from camtrain.regularizers import (
    InputGradientRegularizer,
    PassRegularizer,
    Penalty,
    Regularizer,
    Sum,
    Term,
    named_terms,
)
from camtrain.regularizers.batch_terms import ActiveTerm, BatchTerms
from camtrain.regularizers.term_record import TermRecord


@dataclass(frozen=True)
class TermStep:
    """What one regularizer came to in a step.

    Attributes:
        value: L_R of this term, 0-dim, detached, without its weight.
        weight: its own λ in this step, without that of the objective.
        scale: what balancing multiplies it by; 1 without.
        counted: number of images that have a penalty, 0-dim.
        computed: false where the batch has no annotation, and the term was left out.
    """

    value: Tensor
    weight: float
    scale: float
    counted: Tensor
    computed: bool = True


@dataclass(frozen=True)
class Step:
    """What the objective says of one batch.

    Attributes:
        loss: L, 0-dim; `loss.backward()` gives each parameter its gradient. Detached when it comes from `measure`.
        classification: L_C, 0-dim float32, detached.
        regularization: L_R, 0-dim float32, detached; NaN where it was not computed (no regularizer, λ = 0, a plain step
            of lazy regularization), 0 where no image of the batch is annotated. Of a sum, Σ_t w_t L_t over its active
            terms, before balancing.
        logits: (N, K), detached.
        regularized: whether L_R was computed.
        notes: numbers to log about how the engine worked, such as `two_terms` of `FrozenGates`; empty in plain steps.
        terms: each regularizer of this step by its name.
        gradient_share: ‖λ ∇L_R‖ / (‖∇L_C‖ + ‖λ ∇L_R‖) over all parameters, in [0, 1]; `None` unless asked for.
    """

    loss: Tensor
    classification: Tensor
    regularization: Tensor
    logits: Tensor
    regularized: bool
    notes: dict[str, float] = field(default_factory=dict)
    terms: dict[str, TermStep] = field(default_factory=dict)
    gradient_share: Tensor | None = None


class Objective(nn.Module):
    """The interpretable gradient loss and its relatives: L = L_C + λ L_R, L_C the mean cross-entropy.

    With λ = 0, or without a regularizer, it is plain training: the same numbers, bit for bit, at the same price.

    Args:
        regularizer: what L_R penalizes; `None` is plain cross-entropy.
        weight: λ, at least 0. `None` is the regularizer's `default_weight`.
        engine: how the gradient of L_R reaches the parameters; `None` is `FrozenGates()`, the fast one.
        label_smoothing: of the cross-entropy, in [0, 1].
        every_n_steps: k; lazy regularization applies k·λ·L_R in every k-th call, beginning with the first, and is plain
            training in between (StyleGAN2, arXiv 1912.04958, appendix B). The phase is part of the state dict.
        balance_steps: makes λ comparable across regularizers: each term is multiplied by L_C / L_R of the start, so
            that λ = 1 makes the two equal there (the rule of thumb of Ross et al., arXiv 1703.03717). The start is the
            first so many steps in which the term has a penalty, each of which costs a measurement; 0 does not balance.
            Part of the state dict.

    Attributes:
        epoch: where training is, in epochs and fractions of one, for terms of a `Sum` that have a schedule; whoever
            trains sets it, as `Classifier` does.

    Raises:
        TypeError: if `regularizer` or `engine` is none.
        ValueError: if λ is negative, not finite, or given without a regularizer, `label_smoothing` is not in [0, 1],
            `every_n_steps` is below 1, or `balance_steps` below 0.

    Source:
        Torres Figueroa et al., A Learning Paradigm for Interpretable Gradients, VISAPP 2024, Algorithm 1.

    Example:
        >>> from camtrain.networks import CIFARResNet
        >>> from camtrain.regularizers import InterpretableGradient
        >>> network, images, labels = CIFARResNet(depth=8), torch.rand(4, 3, 32, 32), torch.arange(4)
        >>> objective = Objective(InterpretableGradient(distance="cosine"), weight=7.5e-3)
        >>> step = objective(network, images, labels)
        >>> step.loss.backward()
        >>> torch.allclose(step.loss.detach(), step.classification + 7.5e-3 * step.regularization)
        True
    """

    def __init__(
        self,
        regularizer: Regularizer | None = None,
        weight: float | None = None,
        engine: Engine | None = None,
        label_smoothing: float = 0.0,
        every_n_steps: int = 1,
        balance_steps: int = 0,
    ) -> None:
        super().__init__()
        if not (regularizer is None or isinstance(regularizer, (InputGradientRegularizer, PassRegularizer, Sum))):
            raise TypeError(
                "`regularizer`: expected an InputGradientRegularizer, a PassRegularizer, a Sum or None, got "
                f"{regularizer!r}"
            )
        if not (engine is None or isinstance(engine, Engine)):
            raise TypeError(f"`engine`: expected an Engine or None, got {engine!r}")
        if regularizer is None and weight:
            raise ValueError(f"`weight`: expected 0 or None without a regularizer, got {weight}")
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"`label_smoothing`: expected a number in [0, 1], got {label_smoothing}")
        if every_n_steps < 1:
            raise ValueError(f"`every_n_steps`: expected at least 1, got {every_n_steps}")
        if balance_steps < 0:
            raise ValueError(f"`balance_steps`: expected at least 0, got {balance_steps}")
        self.regularizer = regularizer
        self.terms: dict[str, Term] = {} if regularizer is None else named_terms(regularizer)
        self.records = nn.ModuleDict({name: TermRecord() for name in self.terms})
        self.register_load_state_dict_pre_hook(_records_that_fit)  # type: ignore[no-untyped-call]
        self.balance_steps = balance_steps
        self.epoch: float | None = None
        self.engine = FrozenGates() if engine is None else engine
        self.every_n_steps = every_n_steps
        self._phase = 0
        self.label_smoothing = label_smoothing
        if weight is None:
            weight = 0.0 if regularizer is None else regularizer.default_weight
        self.weight = weight

    @property
    def weight(self) -> float:
        """λ; may be set between steps, as a warm-up does."""
        return self._weight

    @weight.setter
    def weight(self, weight: float) -> None:
        if not (math.isfinite(weight) and weight >= 0):
            raise ValueError(f"`weight`: expected a finite number of at least 0, got {weight}")
        self._weight = weight

    def forward(
        self,
        network: nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        boxes: list[Tensor] | None = None,
        masks: Tensor | None = None,
        measure_gradient_share: bool = False,
    ) -> Step:
        """One training step's loss, ready for a single `backward()`.

        Args:
            network: from (N, 3, H, W) to (N, K) logits, in the mode to train in.
            images: (N, 3, H, W), floating point.
            labels: (N,) class indices, or (N, K) probabilities (mixup, distillation).
            boxes: one (M_i, 4) tensor per image, for regularizers that need them.
            masks: (N, H, W) bool, likewise.
            measure_gradient_share: also take the gradients of L_C and L apart; two more backward passes.

        Raises:
            ValueError: if the shapes do not fit, or a label is not in [0, K).
        """
        _check_images(images)
        is_due = self._phase == 0
        self._phase = (self._phase + 1) % self.every_n_steps
        weighted = self._weighted(boxes, masks) if is_due and self.weight > 0 else {}
        skipped = self._skipped(weighted, boxes, masks, images)
        active = {name: weight for name, weight in weighted.items() if name not in skipped}
        if not active:
            output = _unregularized(network, images, partial(self.classification_loss, labels=labels))
            return _step(output, skipped, _gradient_share(output, network) if measure_gradient_share else None)
        if self.balance_steps:
            self._balance(network, images, labels, boxes, masks, active)
        batch = self._batch_terms(active, network, images, labels, boxes, masks)
        loss_of = partial(self._precise_loss if batch.for_engine else self.classification_loss, labels=labels)
        if batch.for_engine:
            output = self.engine(
                network,
                images,
                loss_of,
                *batch.for_engine,
                keep_classification_graph=measure_gradient_share,
                beside=batch.beside_engine,
            )
        else:
            output = _with_terms_of_pass(network, images, loss_of, batch)
        share = _gradient_share(output, network) if measure_gradient_share else None
        return _step(output, self._term_steps(batch, active) | skipped, share)

    def measure(
        self,
        network: nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        boxes: list[Tensor] | None = None,
        masks: Tensor | None = None,
    ) -> Step:
        """L_C, L_R and L of a batch as values, for validation; L_R whatever λ is, if there is a regularizer.

        L_R is the mean over the images of this batch that count. Works under `torch.no_grad()` and
        `torch.inference_mode()`. Arguments as for a training step.

        Cost:
            A forward pass, and the gradients at the input that the regularizer needs.
        """
        _check_images(images)
        if self.regularizer is None:
            with torch.no_grad():
                output = _unregularized(network, images, partial(self.classification_loss, labels=labels))
            return _step(output, {})
        epoch = math.inf if self.epoch is None else self.epoch
        weights = {name: term.weight_at(epoch) for name, term in self.terms.items()}
        output, batch = self._values(network, images, labels, boxes, masks, weights)
        terms = self._term_steps(batch, weights)
        scaled = torch.stack([term.weight * term.scale * term.value for term in terms.values()]).sum()
        loss = output.classification.detach() + self.weight * scaled
        return _step(EngineOutput(loss, output.classification, scaled, output.logits), terms)

    def classification_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """L_C, the mean cross-entropy, 0-dim.

        Args:
            logits: (N, K).
            labels: (N,) or (N, K).

        Raises:
            ValueError: if the shapes do not fit, or a label is not in [0, K).
        """
        _check_labels(logits, labels)
        return F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)

    def _precise_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """L_C in float64, so that its gradient at a confident image is right.

        That gradient is p − 1 for the label. At p = 1 − 10⁻⁶ float32 leaves one digit of it; plain training does not
        care, but a regularizer that compares directions sees noise.
        """
        _check_labels(logits, labels)
        # Apple's accelerator has no float64.
        double = torch.float32 if logits.device.type == "mps" else torch.float64
        targets = labels.to(double) if labels.is_floating_point() else labels
        loss = F.cross_entropy(logits.to(double), targets, label_smoothing=self.label_smoothing)
        return loss.to(torch.promote_types(logits.dtype, torch.float32))

    def _weighted(self, boxes: list[Tensor] | None, masks: Tensor | None) -> dict[str, float]:
        """The terms that have a weight in this step, and their weights."""
        weights = {name: term.weight_at(self.epoch) for name, term in self.terms.items()}
        weighted = {name: weight for name, weight in weights.items() if weight > 0}
        for name in weighted:
            _check_annotation(self.terms[name].regularizer, boxes, masks)
        return weighted

    def _skipped(
        self, weighted: dict[str, float], boxes: list[Tensor] | None, masks: Tensor | None, images: Tensor
    ) -> dict[str, TermStep]:
        """The terms that a batch without annotation leaves nothing to penalize, so that they need not be paid for."""
        # Processes have to run the same passes, with annotation and without.
        if _in_several_processes() or _has_annotation(boxes, masks):
            return {}
        nothing = images.new_zeros((), dtype=torch.float32)
        skipped = {}
        for name, weight in weighted.items():
            if self.terms[name].regularizer.needs_annotation:
                self._record(name).see(torch.zeros(len(images), dtype=torch.bool, device=images.device))
                skipped[name] = TermStep(nothing, weight, self._scale(name), nothing.long(), computed=False)
        return skipped

    def _batch_terms(
        self,
        weights: dict[str, float],
        network: nn.Module,
        images: Tensor,
        labels: Tensor,
        boxes: list[Tensor] | None,
        masks: Tensor | None,
    ) -> BatchTerms:
        """The terms of a training step, with all that multiplies each of them."""
        factor = self.weight * self.every_n_steps
        terms = [
            ActiveTerm(name, self.terms[name].regularizer, factor * weight * self._scale(name), self._seen(name))
            for name, weight in weights.items()
        ]
        return BatchTerms(terms, network, images, labels, boxes, masks)

    def _record(self, name: str) -> TermRecord:
        record = self.records[name]
        assert isinstance(record, TermRecord)
        return record

    def _scale(self, name: str) -> float:
        return self._record(name).scale if self.balance_steps else 1.0

    def _seen(self, name: str) -> Callable[[Penalty], Tensor]:
        """The reduction of a training step: penalties over the share of images that have counted, this batch too."""

        def reduction(penalty: Penalty) -> Tensor:
            record = self._record(name)
            record.see(penalty.counted)
            return record.over_share(penalty)

        return reduction

    def _values(
        self,
        network: nn.Module,
        images: Tensor,
        labels: Tensor,
        boxes: list[Tensor] | None,
        masks: Tensor | None,
        names: Iterable[str],
    ) -> tuple[EngineOutput, BatchTerms]:
        """Values of the named terms, each the mean over the images of this batch that count; nothing is left behind."""
        terms = [ActiveTerm(name, self.terms[name].regularizer, 1.0, _over_counted) for name in names]
        with gradients_enabled(), left_as_found(network, images.device):
            # Tensors made under inference mode cannot enter a graph; their clones can.
            images, labels = not_inference(images), not_inference(labels)
            masks = None if masks is None else not_inference(masks)
            boxes = None if boxes is None else [not_inference(of_image) for of_image in boxes]
            batch = BatchTerms(terms, network, images, labels, boxes, masks)
            loss_of = partial(self._precise_loss, labels=labels)
            for_engine = batch.for_engine
            penalty = for_engine[0] if for_engine else InputGradientPenalty(lambda gradients, _: gradients)
            forward = forward_pass(network, images, loss_of, penalty, beside=batch.beside_engine)
            if for_engine:
                penalties(penalty, input_gradients(forward, penalty, create_graph=False))
        classification = forward.classification.detach()
        return EngineOutput(classification, classification, torch.zeros(()), forward.logits.detach()), batch

    def _balance(
        self,
        network: nn.Module,
        images: Tensor,
        labels: Tensor,
        boxes: list[Tensor] | None,
        masks: Tensor | None,
        active: dict[str, float],
    ) -> None:
        """Note the size of terms that are at their start."""
        starting = [name for name in active if int(self._record(name).start_steps) < self.balance_steps]
        if not starting:
            return
        output, batch = self._values(network, images, labels, boxes, masks, starting)
        for name in starting:
            self._record(name).note_start(output.classification, batch.means[name])

    def _term_steps(self, batch: BatchTerms, weights: dict[str, float]) -> dict[str, TermStep]:
        return {
            name: TermStep(batch.means[name].float(), weight, self._scale(name), batch.found[name].counted.sum())
            for name, weight in weights.items()
        }

    def get_extra_state(self) -> Tensor:
        """The phase of lazy regularization; a tensor, as everything in a state dict is expected to be."""
        return torch.tensor(self._phase)

    def set_extra_state(self, state: Tensor) -> None:
        """Continue the phase of a state dict."""
        self._phase = int(state) % self.every_n_steps

    def extra_repr(self) -> str:
        """Settings, for printing."""
        return (
            f"weight={self.weight}, engine={self.engine}, label_smoothing={self.label_smoothing}, "
            f"every_n_steps={self.every_n_steps}, balance_steps={self.balance_steps}"
        )


def _unregularized(network: nn.Module, images: Tensor, loss_of: ClassificationLoss) -> EngineOutput:
    """Plain training; L_R is not looked at."""
    logits = network(images)
    loss = loss_of(logits)
    return EngineOutput(loss, loss, torch.full_like(loss, math.nan), logits)


def _with_terms_of_pass(
    network: nn.Module, images: Tensor, loss_of: ClassificationLoss, batch: BatchTerms
) -> EngineOutput:
    """Plain training with terms that need no engine, from the same pass."""
    beside = batch.beside_engine
    assert beside is not None
    leaf = images.detach().requires_grad_() if batch.needs_images_gradient else images
    with beside.watching():
        logits = network(leaf)
    classification = loss_of(logits)
    loss = classification + beside.of_pass(leaf, logits)
    return EngineOutput(loss, classification, torch.full_like(classification, math.nan), logits)


def _records_that_fit(
    objective: Objective, state: dict[str, Tensor], prefix: str, *_strictness_and_messages: object
) -> None:
    """Leave out records of regularizers that this objective has not; start those anew that the state has not."""
    ours = {f"{prefix}records.{key}": value for key, value in objective.records.state_dict().items()}
    for key in [key for key in state if key.startswith(f"{prefix}records.") and key not in ours]:
        del state[key]
    for key, value in ours.items():
        state.setdefault(key, value)


def _check_annotation(regularizer: Regularizer, boxes: list[Tensor] | None, masks: Tensor | None) -> None:
    """A regularizer whose annotation is not there at all would do nothing, without a word."""
    kind = regularizer.looks_at
    given = {"any": boxes is not None or masks is not None, "boxes": boxes is not None, "masks": masks is not None}
    if kind is not None and not given[kind]:
        argument, got = ("`boxes` or `masks`", "neither") if kind == "any" else (f"`{kind}`", "none")
        raise ValueError(
            f"{argument}: {type(regularizer).__name__} needs to know where the object is, got {got}; images without "
            "annotation have no box, (0, 4), or a mask that is nowhere true"
        )


def _has_annotation(boxes: list[Tensor] | None, masks: Tensor | None) -> bool:
    has_box = boxes is not None and any(len(of_image) for of_image in boxes)
    return has_box or (masks is not None and bool(masks.any()))


def _in_several_processes() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _over_counted(penalty: Penalty) -> Tensor:
    """(N,) values whose mean is that of the images that count; zeros where none does."""
    values = torch.where(penalty.counted, penalty.values, torch.zeros_like(penalty.values))
    return values * (len(values) / penalty.counted.sum().clamp(min=1)).to(values.dtype)


def _step(output: EngineOutput, terms: dict[str, TermStep], share: Tensor | None = None) -> Step:
    regularization = torch.full_like(output.classification.detach(), math.nan)
    if terms:
        regularization = torch.stack([term.weight * term.value for term in terms.values()]).sum()
    return Step(
        loss=output.loss,
        classification=output.classification.detach().float(),
        regularization=regularization.float(),
        logits=output.logits.detach(),
        regularized=any(term.computed for term in terms.values()),
        notes=output.notes,
        terms=terms,
        gradient_share=share,
    )


def _gradient_share(output: EngineOutput, network: nn.Module) -> Tensor:
    """See `Step.gradient_share`. The gradient of λ L_R is that of L less that of L_C, whatever the engine."""
    if output.loss is output.classification:
        return torch.zeros_like(output.loss.detach())
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    # The share has no scale; this one keeps float16 gradients from vanishing.
    scale = output.loss.new_tensor(2.0**10)
    of_both, of_classification = (
        torch.autograd.grad(loss, parameters, scale, retain_graph=True, allow_unused=True, materialize_grads=True)
        for loss in (output.loss, output.classification)
    )
    of_regularizer = [both - first for both, first in zip(of_both, of_classification, strict=True)]
    regularizer, classification = _norm(of_regularizer), _norm(of_classification)
    return regularizer / (regularizer + classification).clamp(min=torch.finfo(regularizer.dtype).tiny)


def _norm(gradients: list[Tensor] | tuple[Tensor, ...]) -> Tensor:
    norms = torch.stack([torch.linalg.vector_norm(gradient) for gradient in gradients])
    norm: Tensor = torch.linalg.vector_norm(norms)
    return norm


def _check_images(images: Tensor) -> None:
    if images.dim() != 4 or not images.is_floating_point():
        raise ValueError(
            f"`images`: expected floating point (N, 3, H, W), got {images.dtype} of shape {tuple(images.shape)}"
        )


def _check_labels(logits: Tensor, labels: Tensor) -> None:
    if not isinstance(logits, Tensor) or logits.dim() != 2:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(f"`network`: expected (N, K) logits from it, got {got}")
    if labels.shape not in (logits.shape, logits.shape[:1]):
        raise ValueError(
            f"`labels`: expected ({len(logits)},) class indices or {tuple(logits.shape)} probabilities, "
            f"got shape {tuple(labels.shape)}"
        )
    indices = labels.dim() == 1
    if labels.dtype != torch.int64 if indices else not labels.is_floating_point():
        raise ValueError(
            f"`labels`: expected int64 class indices or floating point probabilities, got {labels.dtype} of shape "
            f"{tuple(labels.shape)}"
        )
    # On an accelerator the look would stop the queue at every step; there the kernel's own assertion names it.
    if indices and labels.device.type == "cpu":
        outside = labels[(labels < 0) | (labels >= logits.shape[1])]
        if len(outside):
            raise ValueError(f"`labels`: expected classes from 0 to {logits.shape[1] - 1}, got {int(outside[0])}")
