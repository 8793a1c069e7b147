"""The regularizers of one batch: which of them an engine takes, what the others need of the pass, what they came to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from camtrain.gradients import InputGradientPenalty, TermOfPass, class_score, guided_gradient, input_gradient
from camtrain.gradients.randomness import Randomness
from camtrain.regularizers.input_gradient_regularizer import ExplainedScalar, InputGradientRegularizer
from camtrain.regularizers.pass_regularizer import PassRegularizer, TrainingPass
from camtrain.regularizers.regularizer import Penalty, Regularizer, as_penalty
from camtrain.regularizers.sum import on_gradient

Reduction = Callable[[Penalty], Tensor]
"""From the penalty of a batch to (N,) values whose mean is L_R."""


@dataclass(frozen=True)
class ActiveTerm:
    """A regularizer in one step.

    Attributes:
        name: of its log keys.
        regularizer: what is penalized.
        weight: what its mean is multiplied by in L.
        reduction: from its penalty to values whose mean is taken.
    """

    name: str
    regularizer: Regularizer
    weight: float
    reduction: Reduction


@dataclass
class BatchTerms:
    """The active terms of a batch.

    Attributes:
        terms: of this step, at least one.
        network: from (N, 3, H, W) to (N, K) logits.
        images: (N, 3, H, W).
        labels: (N,) class indices, or (N, K) probabilities.
        boxes: one (M_i, 4) tensor per image.
        masks: (N, H, W) bool.
        found: the penalties by the terms' names, filled as they are computed, without a graph.
        means: L_R of each term, 0-dim, likewise.
    """

    terms: list[ActiveTerm]
    network: nn.Module
    images: Tensor
    labels: Tensor
    boxes: list[Tensor] | None = None
    masks: Tensor | None = None
    found: dict[str, Penalty] = field(default_factory=dict)
    means: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._on_gradient: dict[ExplainedScalar, list[tuple[ActiveTerm, InputGradientRegularizer]]] = {}
        self._of_pass: list[tuple[ActiveTerm, PassRegularizer]] = []
        for term in self.terms:
            regularizer = on_gradient(term.regularizer)
            if regularizer is not None:
                self._on_gradient.setdefault(regularizer.explained, []).append((term, regularizer))
            elif isinstance(term.regularizer, PassRegularizer):
                self._of_pass.append((term, term.regularizer))
        # The engine takes the gradient of the loss, if that is penalized, since it comes with L_C; else the first one.
        self._of_engine = "loss" if "loss" in self._on_gradient else next(iter(self._on_gradient), None)

    @property
    def for_engine(self) -> tuple[InputGradientPenalty, float] | None:
        """The penalty that an engine takes to the parameters, with its weight; `None` if no term is on the gradient."""
        if self._of_engine is None:
            return None
        pairs = self._on_gradient[self._of_engine]
        weight = sum(term.weight for term, _ in pairs)
        penalty = InputGradientPenalty(
            lambda gradients, guided: self._weighted(pairs, weight, gradients, guided),
            any(regularizer.needs_guided_gradient for _, regularizer in pairs),
            pairs[0][1].batch_norm_statistics,
            self.explained(self._of_engine),
        )
        return penalty, weight

    @property
    def beside_engine(self) -> TermOfPass | None:
        """All other terms; `None` if there are none."""
        if not self._of_pass and len(self._on_gradient) < 2:
            return None
        captured: list[object] = []
        randomness: list[Randomness] = []

        @contextmanager
        def watching() -> Iterator[None]:
            # All made before the first is entered: making one may run the network, to find its last layer.
            contexts = [regularizer.watching(self.network, self.images) for _, regularizer in self._of_pass]
            randomness.append(Randomness.now(self.images.device))
            with ExitStack() as stack:
                captured.extend(stack.enter_context(context) for context in contexts)
                yield

        def of_pass(images: Tensor, logits: Tensor) -> Tensor:
            parts = [self._differentiated_twice(kind, images, logits) for kind in self._on_gradient
                     if kind != self._of_engine]  # fmt: skip
            for (term, regularizer), of_term in zip(self._of_pass, captured, strict=True):
                training_pass = TrainingPass(
                    self.network, images, self._indices, logits, of_term, randomness[0], self.boxes, self.masks
                )
                parts.append(term.weight * self._mean(term, regularizer.penalty(training_pass)))
            return torch.stack([part.to(torch.promote_types(part.dtype, torch.float32)) for part in parts]).sum()

        return TermOfPass(watching, of_pass)

    @property
    def needs_images_gradient(self) -> bool:
        """Whether a term of the pass differentiates by the images."""
        return any(regularizer.needs_images_gradient for _, regularizer in self._of_pass)

    def explained(self, kind: ExplainedScalar) -> Callable[[Tensor], Tensor] | None:
        """From logits to the scalar whose gradient is penalized, a mean over the images; `None` is L_C."""
        # Apple's accelerator has no float64.
        double = torch.float32 if self.images.device.type == "mps" else torch.float64
        match kind:
            case "loss":
                return None
            case "log_probabilities":
                return lambda logits: _in_precision_of(logits, logits.to(double).log_softmax(dim=1).sum(dim=1).mean())
            case "class_score":
                return lambda logits: _in_precision_of(logits, class_score(logits.to(double), self._indices).mean())

    @property
    def _indices(self) -> Tensor:
        return self.labels if self.labels.dim() == 1 else self.labels.argmax(dim=1)

    def _weighted(
        self,
        pairs: list[tuple[ActiveTerm, InputGradientRegularizer]],
        weight: float,
        gradients: Tensor,
        guided: Tensor | None,
    ) -> Tensor:
        total = torch.zeros(len(gradients), dtype=gradients.dtype, device=gradients.device)
        for term, regularizer in pairs:
            of_term = guided if regularizer.needs_guided_gradient else None
            penalty = regularizer(gradients, of_term, boxes=self.boxes, masks=self.masks)
            values = self._values(term, penalty)
            total = total + (term.weight / weight if weight else 1.0) * values
        return total

    def _differentiated_twice(self, kind: ExplainedScalar, images: Tensor, logits: Tensor) -> Tensor:
        explained = self.explained(kind)
        assert explained is not None  # the loss is the engine's
        total = explained(logits) * len(images)
        pairs = self._on_gradient[kind]
        needs_guided = any(regularizer.needs_guided_gradient for _, regularizer in pairs)
        guided = guided_gradient(total, images) if needs_guided else None
        gradients = input_gradient(total, images, create_graph=True)
        weight = sum(term.weight for term, _ in pairs)
        with torch.autocast(images.device.type, enabled=False):
            return weight * self._weighted(pairs, weight, gradients, guided).mean()

    def _mean(self, term: ActiveTerm, penalty: Tensor | Penalty) -> Tensor:
        return self._values(term, penalty).mean()

    def _values(self, term: ActiveTerm, penalty: Tensor | Penalty) -> Tensor:
        found = as_penalty(penalty)
        if found.values.shape != (len(self.images),):
            raise ValueError(
                f"`regularizer`: expected a penalty for each of {len(self.images)} images from "
                f"{type(term.regularizer).__name__}, got shape {tuple(found.values.shape)}"
            )
        values = term.reduction(found)
        self.found[term.name] = Penalty(found.values.detach(), found.counted)
        self.means[term.name] = values.detach().mean()
        return values


def _in_precision_of(logits: Tensor, scalar: Tensor) -> Tensor:
    return scalar.to(torch.promote_types(logits.dtype, torch.float32))
