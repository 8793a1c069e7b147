"""L = L_C + λ L_R for one batch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from camtrain.gradients import (
    Engine,
    EngineOutput,
    FrozenGates,
    InputGradientPenalty,
    gradients_enabled,
    left_as_found,
)
from camtrain.gradients.engine import ClassificationLoss, forward_pass, input_gradients, penalties
from camtrain.regularizers import InputGradientRegularizer


@dataclass(frozen=True)
class Step:
    """What the objective says of one batch.

    Attributes:
        loss: L, 0-dim; `loss.backward()` gives each parameter its gradient. Detached when it comes from `measure`.
        classification: L_C, 0-dim float32, detached.
        regularization: L_R, 0-dim float32, detached; NaN where it was not computed (no regularizer, or λ = 0).
        logits: (N, K), detached.
        regularized: whether L_R was computed.
        notes: numbers to log about how the engine worked, such as `two_terms` of `FrozenGates`; empty in plain steps.
        gradient_share: ‖λ ∇L_R‖ / (‖∇L_C‖ + ‖λ ∇L_R‖) over all parameters, in [0, 1]; `None` unless asked for.
    """

    loss: Tensor
    classification: Tensor
    regularization: Tensor
    logits: Tensor
    regularized: bool
    notes: dict[str, float] = field(default_factory=dict)
    gradient_share: Tensor | None = None


class Objective(nn.Module):
    """The interpretable gradient loss and its relatives: L = L_C + λ L_R, L_C the mean cross-entropy.

    With λ = 0, or without a regularizer, it is plain training: the same numbers, bit for bit, at the same price.

    Args:
        regularizer: what L_R penalizes; `None` is plain cross-entropy.
        weight: λ, at least 0. `None` is the regularizer's default, the best of its paper.
        engine: how the gradient of L_R reaches the parameters; `None` is `FrozenGates()`, the fast one.
        label_smoothing: of the cross-entropy, in [0, 1].
        every_n_steps: k; lazy regularization applies k·λ·L_R in every k-th call, beginning with the first, and is plain
            training in between (StyleGAN2, arXiv 1912.04958, appendix B). The phase is part of the state dict.

    Raises:
        ValueError: if λ is negative, not finite, or given without a regularizer, `label_smoothing` is not in [0, 1], or
            `every_n_steps` is below 1.

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
        regularizer: InputGradientRegularizer | None = None,
        weight: float | None = None,
        engine: Engine | None = None,
        label_smoothing: float = 0.0,
        every_n_steps: int = 1,
    ) -> None:
        super().__init__()
        if not (regularizer is None or isinstance(regularizer, InputGradientRegularizer)):
            raise TypeError(f"`regularizer`: expected an InputGradientRegularizer or None, got {regularizer!r}")
        if not (engine is None or isinstance(engine, Engine)):
            raise TypeError(f"`engine`: expected an Engine or None, got {engine!r}")
        if regularizer is None and weight:
            raise ValueError(f"`weight`: expected 0 or None without a regularizer, got {weight}")
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"`label_smoothing`: expected a number in [0, 1], got {label_smoothing}")
        if every_n_steps < 1:
            raise ValueError(f"`every_n_steps`: expected at least 1, got {every_n_steps}")
        self.regularizer = regularizer
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
        loss_of = partial(self.classification_loss, labels=labels)
        is_due = self._phase == 0
        self._phase = (self._phase + 1) % self.every_n_steps
        if self.regularizer is None or self.weight == 0 or not is_due:
            output = _unregularized(network, images, loss_of)
        else:
            penalty = _penalty(self.regularizer, boxes, masks)
            output = self.engine(
                network,
                images,
                partial(self._precise_loss, labels=labels),
                penalty,
                self.weight * self.every_n_steps,
                keep_classification_graph=measure_gradient_share,
            )
        share = _gradient_share(output, network) if measure_gradient_share else None
        return _step(output, output.loss, share)

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

        Works under `torch.no_grad()` and `torch.inference_mode()`. Arguments as for a training step.

        Cost:
            A forward pass, and the gradients at the input that the regularizer needs.
        """
        _check_images(images)
        if self.regularizer is None:
            with torch.no_grad():
                output = _unregularized(network, images, partial(self.classification_loss, labels=labels))
            return _step(output, output.loss)
        with gradients_enabled(), left_as_found(network, images.device):
            # Tensors made under inference mode cannot enter a graph; their clones can.
            images, labels = (part.clone() if part.is_inference() else part for part in (images, labels))
            loss_of = partial(self._precise_loss, labels=labels)
            penalty = _penalty(self.regularizer, boxes, masks)
            forward = forward_pass(network, images, loss_of, penalty)
            regularization = penalties(penalty, input_gradients(forward, penalty, create_graph=False)).mean()
        loss = (forward.classification + self.weight * regularization).detach()
        return _step(EngineOutput(loss, forward.classification, regularization, forward.logits), loss)

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
            f"every_n_steps={self.every_n_steps}"
        )


def _unregularized(network: nn.Module, images: Tensor, loss_of: ClassificationLoss) -> EngineOutput:
    """Plain training; L_R is not looked at."""
    logits = network(images)
    loss = loss_of(logits)
    return EngineOutput(loss, loss, torch.full_like(loss, math.nan), logits)


def _penalty(
    regularizer: InputGradientRegularizer, boxes: list[Tensor] | None, masks: Tensor | None
) -> InputGradientPenalty:
    """The regularizer, with where the objects of this batch are."""
    return InputGradientPenalty(
        partial(regularizer, boxes=boxes, masks=masks),
        regularizer.needs_guided_gradient,
        regularizer.batch_norm_statistics,
    )


def _step(output: EngineOutput, loss: Tensor, share: Tensor | None = None) -> Step:
    return Step(
        loss=loss,
        classification=output.classification.detach().float(),
        regularization=output.regularization.detach().float(),
        logits=output.logits.detach(),
        regularized=output.loss is not output.classification,
        notes=output.notes,
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
