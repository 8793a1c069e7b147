"""What an engine is: the way in which the gradient of a penalty on the input gradient reaches the parameters."""

from __future__ import annotations

import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from camtrain.gradients.batch_norm import BatchNormStatistics, running_batch_norm
from camtrain.gradients.guided_gradient import guided_gradient
from camtrain.gradients.input_gradient import input_gradient
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
    """

    of_each_image: Callable[[Tensor, Tensor | None], Tensor]
    needs_guided_gradient: bool = False
    batch_norm_statistics: BatchNormStatistics = "batch"


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
    """Networks that an engine has looked at, each in its modes; a copy or a pickle of the engine starts anew."""

    def __init__(self) -> None:
        self._modes: weakref.WeakKeyDictionary[nn.Module, set[tuple[bool, ...]]] = weakref.WeakKeyDictionary()

    def __contains__(self, network: nn.Module) -> bool:
        return modes(network) in self._modes.get(network, set())

    def add(self, network: nn.Module) -> None:
        """Remember the network in the mode that it is in."""
        self._modes.setdefault(network, set()).add(modes(network))

    def __reduce__(self) -> tuple[type[CheckedNetworks], tuple[()]]:
        return type(self), ()


def modes(network: nn.Module) -> tuple[bool, ...]:
    """Of each module, whether it is in training mode."""
    return tuple(module.training for module in network.modules())


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
    ) -> EngineOutput:
        """One forward pass of a batch and what its gradients need.

        Args:
            network: from (N, 3, H, W) to (N, K) logits.
            images: (N, 3, H, W), no gradient with respect to them is left behind.
            classification_loss: from logits to L_C.
            penalty: from input gradients to the penalty of each image.
            weight: λ.
            keep_classification_graph: also keep the graph of L_C, so that its gradient can be told from that of L.
        """


@dataclass(frozen=True)
class ForwardPass:
    """A batch on its way through the network.

    Attributes:
        images: (N, 3, H, W), requires grad.
        logits: (N, K).
        classification: L_C, 0-dim, in the graph.
        explained: the loss whose gradients are penalized, 0-dim: L_C itself, or L_C with running BatchNorm statistics.
        explained_logits: (N, K), those that this loss was computed from.
        randomness: of the pass; the same masks of dropout are drawn when it is replayed.
    """

    images: Tensor
    logits: Tensor
    classification: Tensor
    explained: Tensor
    explained_logits: Tensor
    randomness: Randomness

    @property
    def in_own_pass(self) -> bool:
        """Whether the explained loss is not L_C itself."""
        return self.explained is not self.classification

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
) -> ForwardPass:
    """The pass whose gradients are penalized.

    Args:
        network: from (N, 3, H, W) to (N, K) logits.
        images: (N, 3, H, W).
        classification_loss: from logits to L_C.
        penalty: says which BatchNorm statistics to use.
        watching: entered around the pass whose gradients are penalized, its loss included.

    Cost:
        One forward pass. With running BatchNorm statistics two: the penalized gradients come from the second, L_C from
        the first.
    """
    watching = watching or nullcontext()
    leaf = images.detach().requires_grad_()
    randomness = Randomness.now(images.device)
    if penalty.batch_norm_statistics == "batch":
        with watching:
            logits = network(leaf)
            classification = classification_loss(logits)
        return ForwardPass(leaf, logits, classification, classification, logits, randomness)
    logits = network(leaf)
    with running_batch_norm(network), randomness.replayed(), watching:
        explained_logits = network(leaf)
        explained = classification_loss(explained_logits)
    return ForwardPass(leaf, logits, classification_loss(logits), explained, explained_logits, randomness)


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
