"""The regularizers of one batch: which an engine takes, what the others need of the pass, and their values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from camtrain.batch import Batch
from camtrain.gradients import InputGradientPenalty, TermOfPass, class_score, guided_gradient, input_gradient
from camtrain.gradients.randomness import Randomness
from camtrain.objective.batch_loss import BatchLoss
from camtrain.objective.in_float64 import in_float64
from camtrain.objective.uncompiled_pass import uncompiled_pass
from camtrain.probabilities import total_log_probability
from camtrain.regularizers import (
    ExplainedScalar,
    InputGradientRegularizer,
    PassRegularizer,
    Penalty,
    Regularizer,
    TrainingPass,
)
from camtrain.regularizers.regularizer import as_penalty
from camtrain.regularizers.sum import on_gradient

Reduction = Callable[[Penalty], Tensor]
"""From the penalty of a batch to (N,) values whose mean is L_R."""


@dataclass(frozen=True)
class ActiveTerm:
    """A regularizer in one step.

    Attributes:
        name: The name of its log keys.
        regularizer: The regularizer.
        weight: The factor of its mean in L.
        reduction: From its penalty to the values whose mean is L_R.
    """

    name: str
    regularizer: Regularizer
    weight: float
    reduction: Reduction


@dataclass
class BatchTerms:
    """The active terms of a batch.

    Attributes:
        terms: The active terms, at least one.
        network: From (N, C, H, W) to (N, K) logits.
        batch: The images with labels, boxes and masks.
        loss: L_C of the batch.
        shown: (N, K) bool, the classes that each image shows; `None` if each image has one label.
        found: The penalty of each term by its name, without a graph; filled as penalties are computed.
        means: L_R of each term by its name, 0-dim, without a graph; filled likewise.
    """

    terms: list[ActiveTerm]
    network: nn.Module
    batch: Batch
    loss: BatchLoss
    shown: Tensor | None = None
    found: dict[str, Penalty] = field(default_factory=dict)
    means: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Drawn once, before any pass, so that a pass that is repeated is about the same classes.
        self._class_indices = self._classes()
        self._on_gradient: dict[ExplainedScalar, list[tuple[ActiveTerm, InputGradientRegularizer]]] = {}
        self._of_pass: list[tuple[ActiveTerm, PassRegularizer]] = []
        for term in self.terms:
            regularizer = on_gradient(term.regularizer)
            if regularizer is not None:
                self._on_gradient.setdefault(regularizer.explained, []).append((term, regularizer))
            elif isinstance(term.regularizer, PassRegularizer):
                self._of_pass.append((term, term.regularizer))
        # The gradient of the loss comes with L_C, so the engine takes that one if it is penalized, else the first kind.
        self._of_engine = "loss" if "loss" in self._on_gradient else next(iter(self._on_gradient), None)

    @property
    def for_engine(self) -> tuple[InputGradientPenalty, float] | None:
        """The penalty whose gradient an engine takes to the parameters, and its weight; `None` without such a term."""
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
        """All terms that no engine takes; `None` if there are none."""
        if not self._of_pass and len(self._on_gradient) < 2:
            return None
        captured: list[object] = []
        randomness: list[Randomness] = []
        needy = self._not_of_compiled_code()

        @contextmanager
        def watching() -> Iterator[None]:
            # Make all contexts before entering the first: making one may run the network to find its last layer.
            contexts = [regularizer.watching(self.network, self.batch.images) for _, regularizer in self._of_pass]
            randomness.append(Randomness.now(self.batch.images.device))
            with ExitStack() as stack:
                stack.enter_context(uncompiled_pass(self.network, needy))
                captured.extend(stack.enter_context(context) for context in contexts)
                yield

        def of_pass(images: Tensor, logits: Tensor) -> Tensor:
            with uncompiled_pass(self.network, needy):
                parts = [self._differentiated_twice(kind, images, logits) for kind in self._on_gradient
                         if kind != self._of_engine]  # fmt: skip
                for (term, regularizer), of_term in zip(self._of_pass, captured, strict=True):
                    training_pass = TrainingPass(
                        self.network, images, self._class_indices, logits, of_term, randomness[0],
                        self.batch.boxes, self.batch.masks, self.shown, self.loss.of_images,
                    )  # fmt: skip
                    parts.append(term.weight * self._mean(term, regularizer.penalty(training_pass)))
            return torch.stack([part.to(torch.promote_types(part.dtype, torch.float32)) for part in parts]).sum()

        return TermOfPass(watching, of_pass)

    def _not_of_compiled_code(self) -> list[str]:
        """The regularizers beside the engine that need more of a network than compiled code offers."""
        of_pass: list[Regularizer] = [each for _, each in self._of_pass]
        twice = [term.regularizer for kind, pairs in self._on_gradient.items() for term, _ in pairs
                 if kind != self._of_engine]  # fmt: skip
        return [type(each).__name__ for each in of_pass + twice]

    @property
    def needs_images_gradient(self) -> bool:
        """Whether a term of the pass needs a gradient with respect to the images."""
        return any(regularizer.needs_images_gradient for _, regularizer in self._of_pass)

    def explained(self, kind: ExplainedScalar) -> Callable[[Tensor], Tensor] | None:
        """From logits to the scalar whose gradient is penalized, a mean over the images; `None` stands for L_C."""
        match kind:
            case "loss":
                return None
            case "log_probabilities":
                independent = self.shown is not None
                return in_float64(lambda logits: total_log_probability(logits, independent=independent).mean())
            case "class_score":
                return in_float64(lambda logits: class_score(logits, self._class_indices).mean())

    def _classes(self) -> Tensor:
        """The class of each image that penalties are about, (N,)."""
        labels = self.batch.labels
        assert labels is not None  # checked_batch has been given them
        if labels.dim() == 1:
            return labels
        if labels.shape[1] == 1:  # of a single logit
            return (labels.squeeze(1) >= 0.5).long()
        return labels.argmax(dim=1) if self.shown is None else drawn_classes(self.shown)

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
            penalty = regularizer(gradients, of_term, boxes=self.batch.boxes, masks=self.batch.masks)
            values = self._values(term, penalty)
            total = total + (term.weight / weight if weight else 1.0) * values
        return total

    def _differentiated_twice(self, kind: ExplainedScalar, images: Tensor, logits: Tensor) -> Tensor:
        explained = self.explained(kind)
        assert explained is not None  # an engine takes the gradient of the loss
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
        found = self._of_shown(term.regularizer, as_penalty(penalty))
        if found.values.shape != (len(self.batch),):
            raise ValueError(
                f"`regularizer`: expected a penalty for each of {len(self.batch)} images from "
                f"{type(term.regularizer).__name__}, got shape {tuple(found.values.shape)}"
            )
        values = term.reduction(found)
        self.found[term.name] = Penalty(found.values.detach(), found.counted, found.flat)
        self.means[term.name] = values.detach().mean()
        return values

    def _of_shown(self, regularizer: Regularizer, penalty: Penalty) -> Penalty:
        """The penalty without images that show no class, if it is about a class of each image."""
        if self.shown is None or not regularizer.needs_class or penalty.counted.shape != (len(self.batch),):
            return penalty
        counted = penalty.counted & self.shown.any(dim=1)
        return Penalty(penalty.values, counted, None if penalty.flat is None else penalty.flat & counted)


def drawn_classes(shown: Tensor) -> Tensor:
    """One class of each image, drawn at random among those that it shows, (N,); 0 where it shows none.

    Random numbers come from torch's global generator on the device.

    Args:
        shown: (N, K) bool.

    Source:
        Rao et al., Studying How to Efficiently and Effectively Guide Models with Explanations, ICCV 2023, arXiv
        2303.11932, which draws one class of each image in each step.

    Example:
        >>> drawn_classes(torch.tensor([[False, True, False], [False, False, False]]))
        tensor([1, 0])
    """
    keys = torch.rand(shown.shape, device=shown.device)
    return keys.masked_fill(~shown, -1.0).argmax(dim=1)
