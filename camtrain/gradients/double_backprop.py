"""The reference engine: differentiate the input gradient."""

from __future__ import annotations

from torch import Tensor, nn

from camtrain.gradients.engine import (
    ClassificationLoss,
    Engine,
    EngineOutput,
    InputGradientPenalty,
    input_gradients,
    mean_penalty,
)


class DoubleBackprop(Engine):
    """Exact gradient of L = L_C + λ L_R by backpropagation through the input gradient.

        δ = n ∂L_C/∂x with its graph,   L_R = 1/n Σ_i E(δ_i, δ^G_i),   ∇_θ L by one `backward()` through both

    Every operation of the network must be twice differentiable: SyncBatchNorm, fused attention and hardsigmoid are not.

    Cost:
        About 3 to 4 plain training steps, and a second graph in memory.

    Source:
        Drucker and LeCun, Improving Generalization Performance Using Double Backpropagation, 1992.
    """

    def __call__(
        self,
        network: nn.Module,
        images: Tensor,
        classification_loss: ClassificationLoss,
        penalty: InputGradientPenalty,
        weight: float,
    ) -> EngineOutput:
        """See `Engine`."""
        found = input_gradients(network, images, classification_loss, penalty, create_graph=True)
        regularization = mean_penalty(penalty, found)
        loss = found.classification + weight * regularization
        return EngineOutput(loss, found.classification, regularization.detach(), found.logits)
