"""The result of one training step."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from camtrain.objective.losses import Losses


@dataclass(frozen=True)
class TermStep:
    """One regularizer's part of a step.

    Attributes:
        value: L_R of this term without its weight, 0-dim, detached.
        weight: The term's own λ in this step; λ of the objective is not in it.
        scale: The factor by which balancing multiplies the term; 1 without balancing.
        counted: The number of images that have a penalty, 0-dim.
        computed: Whether the term was computed. It is left out where it needs annotation and no image of the batch has
            a box or a mask.
        flat: The number of counted images whose map has no positive value, 0-dim; `None` for penalties of other things.
    """

    value: Tensor
    weight: float
    scale: float
    counted: Tensor
    computed: bool = True
    flat: Tensor | None = None


@dataclass(frozen=True)
class Step:
    """The losses of one batch.

    Attributes:
        loss: L, 0-dim. `loss.backward()` gives each parameter its gradient. Detached when `measure` made the step.
        classification: L_C, 0-dim float32, detached.
        regularization: L_R, 0-dim float32, detached. NaN where L_R was not computed (no regularizer, λ = 0, a plain
            step of lazy regularization); 0 where no image of the batch is annotated. For a sum it is Σ_t w_t L_t over
            the active terms, before balancing.
        logits: (N, K), detached.
        regularized: Whether L_R was computed.
        notes: Numbers to log about the engine's work, such as `two_terms` of `FrozenGates`; empty in plain steps.
        terms: The part of each active regularizer, by its name.
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

    @classmethod
    def of(cls, losses: Losses, terms: dict[str, TermStep], gradient_share: Tensor | None = None) -> Step:
        """The step of a batch, from its losses and the parts of its regularizers."""
        classification = losses.classification.detach()
        regularization = torch.full_like(classification, math.nan)
        if terms:
            regularization = torch.stack([term.weight * term.value for term in terms.values()]).sum()
        return cls(
            loss=losses.loss,
            classification=classification.float(),
            regularization=regularization.float(),
            logits=losses.logits.detach(),
            regularized=any(term.computed for term in terms.values()),
            notes=losses.notes,
            terms=terms,
            gradient_share=gradient_share,
        )
