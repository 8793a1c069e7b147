"""How the losses of a batch are computed: by one plain pass, by a pass with terms, or by an engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor, nn

from camtrain.checked_logits import checked_logits
from camtrain.gradients import Engine
from camtrain.gradients.engine import forward_pass, input_gradients, penalties
from camtrain.objective.batch_loss import BatchLoss
from camtrain.objective.batch_terms import BatchTerms


@dataclass(frozen=True)
class Losses:
    """The losses of one batch.

    Attributes:
        loss: L, 0-dim.
        classification: L_C, 0-dim; the same tensor as `loss` where L has no other term.
        logits: (N, K).
        notes: Numbers to log about the engine's work.
    """

    loss: Tensor
    classification: Tensor
    logits: Tensor
    notes: dict[str, float] = field(default_factory=dict)


def plain_losses(network: nn.Module, images: Tensor, loss: BatchLoss) -> Losses:
    """L = L_C, from one forward pass."""
    logits = checked_logits(network(images), len(images))
    classification = loss(logits)
    return Losses(classification, classification, logits)


def losses_with_terms(
    network: nn.Module, terms: BatchTerms, loss: BatchLoss, engine: Engine, *, keep_classification_graph: bool
) -> Losses:
    """L with its terms, ready for one `backward()`.

    Args:
        network: From (N, C, H, W) to (N, K) logits.
        terms: The active regularizers of the batch, at least one; they remember their penalties.
        loss: L_C of the batch.
        engine: Takes the gradient of terms on the input gradient to the parameters. It is not needed for other terms.
        keep_classification_graph: Whether to keep the graph of L_C, to tell its gradient from that of L.

    Raises:
        ValueError: If the images have a graph, and a term differentiates with respect to them.
    """
    images = terms.batch.images
    if images.grad_fn is not None and (terms.for_engine is not None or terms.needs_images_gradient):
        raise ValueError(
            "`images`: expected images that nothing trained has made, got ones with a graph, through which a penalty "
            "on the input gradient passes no gradient; make what computes them a part of the network, or detach them"
        )
    if terms.for_engine is None:
        leaf = images.detach().requires_grad_() if terms.needs_images_gradient else images
        return _losses_of_pass(network, leaf, terms, loss)
    output = engine(
        network,
        images,
        loss.precise,
        *terms.for_engine,
        keep_classification_graph=keep_classification_graph,
        beside=terms.beside_engine,
    )
    return Losses(output.loss, output.classification, output.logits, output.notes)


def measure_terms(network: nn.Module, terms: BatchTerms, loss: BatchLoss) -> tuple[Tensor, Tensor]:
    """Compute the penalties of a batch without training; the terms remember them.

    Args:
        network: From (N, C, H, W) to (N, K) logits.
        terms: The regularizers to measure, at least one.
        loss: L_C of the batch.

    Returns:
        L_C, 0-dim, and the logits, (N, K), both detached.

    Cost:
        A forward pass, and the gradients at the input that the terms need.
    """
    images = terms.batch.images
    if terms.for_engine is None:
        # The leaf requires grad so that maps of a network without trained parameters can be measured, too.
        losses = _losses_of_pass(network, images.detach().requires_grad_(), terms, loss.precise)
        return losses.classification.detach(), losses.logits.detach()
    penalty, _ = terms.for_engine
    forward = forward_pass(network, images, loss.precise, penalty, beside=terms.beside_engine)
    penalties(penalty, input_gradients(forward, penalty, create_graph=False))
    return forward.classification.detach(), forward.logits.detach()


def _losses_of_pass(network: nn.Module, images: Tensor, terms: BatchTerms, loss: Callable[[Tensor], Tensor]) -> Losses:
    """L with terms that need no engine, from one forward pass."""
    beside = terms.beside_engine
    assert beside is not None  # at least one term, and none for an engine
    with beside.watching():
        logits = checked_logits(network(images), len(images))
    classification = loss(logits)
    return Losses(classification + beside.of_pass(images, logits), classification, logits)
