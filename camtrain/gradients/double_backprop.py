"""The reference engine: differentiate the input gradient."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from camtrain.gradients.engine import (
    CheckedNetworks,
    ClassificationLoss,
    Engine,
    EngineOutput,
    InputGradientPenalty,
    TermOfPass,
    forward_pass,
    input_gradients,
    penalties,
)


class DoubleBackprop(Engine):
    """Exact gradient of L = L_C + λ L_R by backpropagation through the input gradient.

        δ = n ∂L_C/∂x with its graph,   L_R = 1/n Σ_i E(δ_i, δ^G_i),   ∇_θ L by one `backward()` through both

    Every operation of the network must be twice differentiable: SyncBatchNorm, fused attention and hardsigmoid are not.
    The first step of a network checks this, which costs one more backward pass.

    Raises:
        RuntimeError: In the first step of a network, if an operation has no second derivative.

    Cost:
        About 3 to 4 plain training steps, and a second graph in memory.

    Source:
        Drucker and LeCun, Improving Generalization Performance Using Double Backpropagation, 1992.
    """

    def __init__(self) -> None:
        self._checked = CheckedNetworks()

    def __repr__(self) -> str:
        return "DoubleBackprop()"

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
        """See `Engine`."""
        forward = forward_pass(network, images, classification_loss, penalty, beside=beside)
        found = input_gradients(forward, penalty, create_graph=True)
        regularization = penalties(penalty, found).mean()
        if network not in self._checked:
            _check_second_derivative(network, regularization)
            self._checked.add(network)
        loss = forward.classification + weight * regularization
        if forward.beside is not None:
            loss = loss + forward.beside
        return EngineOutput(loss, forward.classification, regularization.detach(), forward.logits)


def _check_second_derivative(network: nn.Module, regularization: Tensor) -> None:
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    try:
        torch.autograd.grad(regularization, parameters, retain_graph=True, allow_unused=True)
    except RuntimeError as error:
        raise RuntimeError(
            f"`network`: an operation of {type(network).__name__} has no second derivative, which DoubleBackprop needs "
            f"({error}). Use engine=FrozenGates(), which needs none, or replace that operation."
        ) from error
