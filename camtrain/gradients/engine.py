"""The interface of an engine, which takes the gradient of a penalty on the input gradient to the parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from camtrain.batch import check_finite_images, check_images
from camtrain.checked_logits import checked_logits
from camtrain.gradients.batch_norm import BatchNormStatistics, running_batch_norm
from camtrain.gradients.guided_gradient import guided_gradient
from camtrain.gradients.input_gradient import input_gradient
from camtrain.gradients.per_network import PerNetwork, modes
from camtrain.gradients.randomness import Randomness

ClassificationLoss = Callable[[Tensor], Tensor]
"""From logits (N, K) to L_C, 0-dim: a mean over the images of a function of each image's own row."""


@dataclass(frozen=True)
class InputGradientPenalty:
    """A penalty on the input gradients of one batch, as an engine needs it.

    Attributes:
        of_each_image: From δ and δ^G, (N, C, H, W) in float32 or float64, to the penalty of each image, (N,).
        needs_guided_gradient: Whether the penalty depends on δ^G. If not, δ^G is `None`.
        batch_norm_statistics: The statistics of BatchNorm in the pass that δ is taken from.
        explained: From logits to the *explained scalar*, the scalar that δ is the gradient of, 0-dim, a mean over the
            images like L_C. `None` takes L_C itself.
    """

    of_each_image: Callable[[Tensor, Tensor | None], Tensor]
    needs_guided_gradient: bool = False
    batch_norm_statistics: BatchNormStatistics = "batch"
    explained: ClassificationLoss | None = None


@dataclass(frozen=True)
class TermOfPass:
    """A term of the loss that is computed from the first pass of a step and is not a penalty on the input gradient.

    Attributes:
        watching: Makes the context that the pass runs in, such as one that captures activations.
        of_pass: From the images, which require grad where an engine or a term needs it, and the logits to the term,
            0-dim, in the graph, its weight included.
    """

    watching: Callable[[], AbstractContextManager[object]]
    of_pass: Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class EngineOutput:
    """The result of one training step of an engine.

    Attributes:
        loss: L_C + λ L_R, 0-dim. One `backward()` gives each parameter the gradient of both.
        classification: L_C, 0-dim, in the graph if `keep_classification_graph` was set.
        regularization: L_R, 0-dim, a value without a graph.
        logits: (N, K).
        notes: Numbers to log about how the engine worked.
    """

    loss: Tensor
    classification: Tensor
    regularization: Tensor
    logits: Tensor
    notes: dict[str, float] = field(default_factory=dict)


class CheckedNetworks:
    """The networks that an engine has checked, each in certain modes of its modules."""

    def __init__(self) -> None:
        self._modes = PerNetwork[set[tuple[bool, ...]]]()

    def __contains__(self, network: nn.Module) -> bool:
        return modes(network) in self._modes.get(network, set())

    def add(self, network: nn.Module) -> None:
        """Remember the network in its current modes."""
        self._modes.setdefault(network, set()).add(modes(network))


class Engine(ABC):
    """Computes L_C, the input gradients and the penalty L_R on them, and makes L = L_C + λ L_R trainable."""

    @abstractmethod
    def __call__(
        self,
        network: nn.Module,
        images: Tensor,
        classification_loss: ClassificationLoss,
        penalty: InputGradientPenalty,
        weight: float,
        *,
        keep_classification_graph: bool = False,
        beside: TermOfPass | None = None,
    ) -> EngineOutput:
        """Run one training step up to its loss; the caller calls `backward()`.

        Args:
            network: From (N, C, H, W) to (N, K) logits.
            images: (N, C, H, W). They get no `.grad`.
            classification_loss: From logits to L_C.
            penalty: From input gradients to the penalty of each image.
            weight: λ.
            keep_classification_graph: Whether to keep the graph of L_C, for the gradient of L_C apart from that of L.
            beside: A further term that is computed from the same pass and added to L.
        """


@dataclass(frozen=True)
class ForwardPass:
    """A forward pass of a batch, with its graph.

    Attributes:
        images: (N, C, H, W), requires grad.
        logits: (N, K).
        classification: L_C, 0-dim, in the graph.
        explained: The explained scalar, whose gradients are penalized, 0-dim: L_C itself, L_C with running BatchNorm
            statistics, or the penalty's own scalar.
        explained_logits: The logits that the explained scalar was computed from, (N, K).
        randomness: The state of the random generators before the pass. Replayed, it draws the same dropout masks.
        beside: The term of `TermOfPass`, 0-dim, in the graph; `None` if there is none.
    """

    images: Tensor
    logits: Tensor
    classification: Tensor
    explained: Tensor
    explained_logits: Tensor
    randomness: Randomness
    beside: Tensor | None = None

    @property
    def explains_another(self) -> bool:
        """Whether the explained scalar is another one than L_C."""
        return self.explained is not self.classification

    @property
    def in_own_pass(self) -> bool:
        """Whether the explained scalar was computed by a pass of its own."""
        return self.explained_logits is not self.logits

    @property
    def total(self) -> Tensor:
        """The explained scalar times n, which cancels the factor 1/n that its mean puts into each image's gradient."""
        return self.explained * len(self.images)


def forward_pass(
    network: nn.Module,
    images: Tensor,
    classification_loss: ClassificationLoss,
    penalty: InputGradientPenalty,
    watching: AbstractContextManager[object] | None = None,
    beside: TermOfPass | None = None,
) -> ForwardPass:
    """Run the pass whose gradients are penalized.

    Args:
        network: From (N, C, H, W) to (N, K) logits.
        images: (N, C, H, W).
        classification_loss: From logits to L_C.
        penalty: Says which BatchNorm statistics to use, and which scalar is explained.
        watching: A context around the pass that the penalized gradients come from, and its loss.
        beside: A further term that is computed from the pass that L_C comes from.

    Raises:
        TypeError: If the images are no floating-point tensor.
        ValueError: If the images are not (N, C, H, W), there are none, one on the CPU holds NaN or infinity, or the
            network does not put out (N, K) logits.

    Cost:
        One forward pass. With running BatchNorm statistics two: the penalized gradients come from the second, L_C from
        the first.
    """
    check_images(images, at_least_one=True)
    if images.device.type == "cpu":  # on an accelerator this would stop the queue at every step
        check_finite_images(images)
    watching = watching or nullcontext()
    explained_loss = penalty.explained or classification_loss
    leaf = images.detach().requires_grad_()
    randomness = Randomness.now(images.device)
    in_one_pass = penalty.batch_norm_statistics == "batch"
    # `beside` is entered first: to find a layer it may run the network, and `watching` must not see that.
    with beside.watching() if beside else nullcontext(), watching if in_one_pass else nullcontext():
        logits = checked_logits(network(leaf), len(leaf))
        if in_one_pass:
            explained_logits, explained = logits, explained_loss(logits)
    if not in_one_pass:
        with running_batch_norm(network), randomness.replayed(), watching:
            explained_logits = checked_logits(network(leaf), len(leaf))
            explained = explained_loss(explained_logits)
    is_explained = in_one_pass and penalty.explained is None
    classification = explained if is_explained else classification_loss(logits)
    found_beside = beside.of_pass(leaf, logits) if beside else None
    return ForwardPass(leaf, logits, classification, explained, explained_logits, randomness, found_beside)


@dataclass(frozen=True)
class InputGradients:
    """The input gradients of one batch.

    Attributes:
        gradients: δ_i = n ∂L_C/∂x_i, (N, C, H, W).
        guided_gradients: δ^G_i, (N, C, H, W), detached; `None` if the penalty does not need them.
    """

    gradients: Tensor
    guided_gradients: Tensor | None


def input_gradients(forward: ForwardPass, penalty: InputGradientPenalty, *, create_graph: bool) -> InputGradients:
    """The input gradients that a penalty depends on. The graph of the pass is kept.

    The mean in L_C puts a factor 1/n into its gradient. δ_i = n ∂L_C/∂x_i has no such factor, so that a distance
    between gradients does not depend on the batch size, nor on how a batch is split over devices or accumulated.

    Args:
        forward: The pass.
        penalty: Says whether the guided gradient is needed.
        create_graph: Whether to keep δ in the graph.

    Cost:
        One backward pass to the input for δ, another for δ^G.
    """
    # The guided gradient comes first because its error for a compiled network is clearer than torch's.
    guided = guided_gradient(forward.total, forward.images) if penalty.needs_guided_gradient else None
    return InputGradients(input_gradient(forward.total, forward.images, create_graph=create_graph), guided)


def penalties(penalty: InputGradientPenalty, found: InputGradients) -> Tensor:
    """The penalty of each image, (N,), computed outside autocast: distances between tiny gradients need float32."""
    with torch.autocast(found.gradients.device.type, enabled=False):
        return penalty.of_each_image(found.gradients, found.guided_gradients)
