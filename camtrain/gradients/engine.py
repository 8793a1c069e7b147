"""What an engine is: the way in which the gradient of a penalty on the input gradient reaches the parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from camtrain.gradients.batch_norm import BatchNormStatistics, running_batch_norm
from camtrain.gradients.guided_gradient import guided_gradient
from camtrain.gradients.input_gradient import input_gradient
from camtrain.gradients.randomness import Randomness

ClassificationLoss = Callable[[Tensor], Tensor]
"""From logits (N, K) to L_C, the mean over the images, 0-dim."""


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
        classification: L_C, 0-dim, in the graph.
        regularization: L_R, 0-dim, a value.
        logits: (N, K).
    """

    loss: Tensor
    classification: Tensor
    regularization: Tensor
    logits: Tensor


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
    ) -> EngineOutput:
        """One forward pass of a batch and what its gradients need.

        Args:
            network: from (N, 3, H, W) to (N, K) logits.
            images: (N, 3, H, W), no gradient with respect to them is left behind.
            classification_loss: from logits to L_C.
            penalty: from input gradients to the penalty of each image.
            weight: λ.
        """


@dataclass(frozen=True)
class InputGradients:
    """The gradients of one batch at the input, and the passes that they come from.

    Attributes:
        logits: (N, K).
        classification: L_C, 0-dim, in the graph.
        gradients: δ_i = n ∂L_C/∂x_i, (N, 3, H, W).
        guided_gradients: δ^G_i, (N, 3, H, W), detached; `None` where the penalty does not need them.
    """

    logits: Tensor
    classification: Tensor
    gradients: Tensor
    guided_gradients: Tensor | None


def input_gradients(
    network: nn.Module,
    images: Tensor,
    classification_loss: ClassificationLoss,
    penalty: InputGradientPenalty,
    *,
    create_graph: bool,
) -> InputGradients:
    """Forward pass of a batch, and the gradients that a penalty is about.

    The mean in L_C puts a factor 1/n into its gradient; δ_i = n ∂L_C/∂x_i has none, so that a distance between
    gradients does not depend on the size of the batch, nor on how it is split over devices or accumulated.

    Args:
        network: from (N, 3, H, W) to (N, K) logits.
        images: (N, 3, H, W).
        classification_loss: from logits to L_C.
        penalty: says whether the guided gradient is needed and which BatchNorm statistics to use.
        create_graph: keep δ in the graph.

    Cost:
        One forward, one backward to the input for δ, another for δ^G. With running BatchNorm statistics, a second
        forward: the penalized gradients come from it, L_C from the first.
    """
    leaf = images.detach().requires_grad_()
    randomness = Randomness.now(images.device)
    logits = network(leaf)
    classification = explained = classification_loss(logits)
    if penalty.batch_norm_statistics == "running":
        with running_batch_norm(network), randomness.replayed():
            explained = classification_loss(network(leaf))
    total = explained * len(images)
    # First, because it says in clear words what is wrong with a compiled network; torch's own words are not.
    guided = guided_gradient(total, leaf) if penalty.needs_guided_gradient else None
    gradients = input_gradient(total, leaf, create_graph=create_graph)
    return InputGradients(logits, classification, gradients, guided)


def mean_penalty(penalty: InputGradientPenalty, found: InputGradients) -> Tensor:
    """L_R = 1/n Σ_i penalty_i, 0-dim, outside autocast: distances between tiny gradients need float32."""
    with torch.autocast(found.gradients.device.type, enabled=False):
        return penalty.of_each_image(found.gradients, found.guided_gradients).mean()
