"""What an engine is: the way in which the gradient of a penalty on the input gradient reaches the parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from camtrain.gradients.batch_norm import BatchNormStatistics, running_batch_norm
from camtrain.gradients.guided_gradient import guided_gradient
from camtrain.gradients.input_gradient import input_gradient
from camtrain.gradients.per_network import PerNetwork, modes
from camtrain.gradients.randomness import Randomness

ClassificationLoss = Callable[[Tensor], Tensor]
"""From logits (N, K) to L_C, 0-dim: a mean over the images, to which each adds what depends on its own row alone."""


@dataclass(frozen=True)
class InputGradientPenalty:
    """What an engine needs to know of a penalty on the input gradient of one batch.

    Attributes:
        of_each_image: from δ and δ^G, (N, 3, H, W) in float32 or float64, to the penalty of each image, (N,).
        needs_guided_gradient: whether δ^G is looked at; it is `None` otherwise.
        batch_norm_statistics: the statistics of BatchNorm while δ is taken.
        explained: from logits to the scalar that δ is the gradient of, 0-dim, a mean over the images as L_C is; `None`
            is L_C itself.
    """

    of_each_image: Callable[[Tensor, Tensor | None], Tensor]
    needs_guided_gradient: bool = False
    batch_norm_statistics: BatchNormStatistics = "batch"
    explained: ClassificationLoss | None = None


@dataclass(frozen=True)
class TermOfPass:
    """A part of the loss that is computed from the first pass of a step and is no penalty on the input gradient.

    Attributes:
        watching: makes the context that the pass is run in, such as one that captures activations.
        of_pass: from the images, which require grad, and the logits to a scalar, 0-dim, in the graph, its weight
            included.
    """

    watching: Callable[[], AbstractContextManager[object]]
    of_pass: Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class EngineOutput:
    """What one pass of an engine gives.

    Attributes:
        loss: L_C + λ L_R, 0-dim; one `backward()` gives each parameter the gradient of both.
        classification: L_C, 0-dim; in the graph if that was asked for.
        regularization: L_R, 0-dim, a value.
        logits: (N, K).
        notes: numbers to log about how the engine worked.
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
    """Takes L_C, the gradients of L_C at the input, the penalty L_R on them, and makes L = L_C + λ L_R trainable."""

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
        """One forward pass of a batch and what its gradients need.

        Args:
            network: from (N, 3, H, W) to (N, K) logits.
            images: (N, 3, H, W), no gradient with respect to them is left behind.
            classification_loss: from logits to L_C.
            penalty: from input gradients to the penalty of each image.
            weight: λ.
            keep_classification_graph: also keep the graph of L_C, so that its gradient can be told from that of L.
            beside: what is added to L from the same pass.
        """


@dataclass(frozen=True)
class ForwardPass:
    """A batch on its way through the network.

    Attributes:
        images: (N, 3, H, W), requires grad.
        logits: (N, K).
        classification: L_C, 0-dim, in the graph.
        explained: the scalar whose gradients are penalized, 0-dim: L_C itself, L_C with running BatchNorm statistics,
            or what the penalty says.
        explained_logits: (N, K), those that this scalar was computed from.
        randomness: of the pass; the same masks of dropout are drawn when it is replayed.
        beside: what is added to L from the pass, 0-dim, in the graph; `None` if nothing is.
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
        """Whether the explained scalar is not L_C itself."""
        return self.explained is not self.classification

    @property
    def in_own_pass(self) -> bool:
        """Whether the explained scalar was computed by a pass of its own."""
        return self.explained_logits is not self.logits

    @property
    def total(self) -> Tensor:
        """The explained loss times n: the mean in it would put a factor 1/n into each image's gradient."""
        return self.explained * len(self.images)


def forward_pass(
    network: nn.Module,
    images: Tensor,
    classification_loss: ClassificationLoss,
    penalty: InputGradientPenalty,
    watching: AbstractContextManager[object] | None = None,
    beside: TermOfPass | None = None,
) -> ForwardPass:
    """The pass whose gradients are penalized.

    Args:
        network: from (N, 3, H, W) to (N, K) logits.
        images: (N, 3, H, W).
        classification_loss: from logits to L_C.
        penalty: says which BatchNorm statistics to use, and which scalar is explained.
        watching: entered around the pass whose gradients are penalized, its loss included.
        beside: what else is computed from the pass that L_C comes from.

    Cost:
        One forward pass. With running BatchNorm statistics two: the penalized gradients come from the second, L_C from
        the first.
    """
    watching = watching or nullcontext()
    explained_loss = penalty.explained or classification_loss
    leaf = images.detach().requires_grad_()
    randomness = Randomness.now(images.device)
    in_one_pass = penalty.batch_norm_statistics == "batch"
    # What stands beside goes first: finding a layer may run the network, which is not to be watched.
    with beside.watching() if beside else nullcontext(), watching if in_one_pass else nullcontext():
        logits = network(leaf)
        if in_one_pass:
            explained_logits, explained = logits, explained_loss(logits)
    if not in_one_pass:
        with running_batch_norm(network), randomness.replayed(), watching:
            explained_logits = network(leaf)
            explained = explained_loss(explained_logits)
    is_explained = in_one_pass and penalty.explained is None
    classification = explained if is_explained else classification_loss(logits)
    found_beside = beside.of_pass(leaf, logits) if beside else None
    return ForwardPass(leaf, logits, classification, explained, explained_logits, randomness, found_beside)


@dataclass(frozen=True)
class InputGradients:
    """The gradients of one batch at the input.

    Attributes:
        gradients: δ_i = n ∂L_C/∂x_i, (N, 3, H, W).
        guided_gradients: δ^G_i, (N, 3, H, W), detached; `None` where the penalty does not need them.
    """

    gradients: Tensor
    guided_gradients: Tensor | None


def input_gradients(forward: ForwardPass, penalty: InputGradientPenalty, *, create_graph: bool) -> InputGradients:
    """The gradients that a penalty is about; the graph of the pass is kept.

    The mean in L_C puts a factor 1/n into its gradient; δ_i = n ∂L_C/∂x_i has none, so that a distance between
    gradients does not depend on the size of the batch, nor on how it is split over devices or accumulated.

    Args:
        forward: the pass.
        penalty: says whether the guided gradient is needed.
        create_graph: keep δ in the graph.

    Cost:
        One backward pass to the input for δ, another for δ^G.
    """
    # First, because it says in clear words what is wrong with a compiled network; torch's own words are not.
    guided = guided_gradient(forward.total, forward.images) if penalty.needs_guided_gradient else None
    return InputGradients(input_gradient(forward.total, forward.images, create_graph=create_graph), guided)


def penalties(penalty: InputGradientPenalty, found: InputGradients) -> Tensor:
    """Penalty of each image, (N,), outside autocast: distances between tiny gradients need float32."""
    with torch.autocast(found.gradients.device.type, enabled=False):
        return penalty.of_each_image(found.gradients, found.guided_gradients)
