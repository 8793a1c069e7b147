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
    Some second derivatives exist and are NaN, such as that of a norm at zero. The first step of a network in new modes,
    or on images of a new size, checks this, which costs one more backward pass.

    Raises:
        RuntimeError: In such a step, if an operation has no second derivative, or the gradient of L_R is not finite.

    Cost:
        2.3 to 5.4 plain training steps in experiments/step_cost, and a second graph in memory.

    Source:
        Drucker and LeCun, Improving Generalization Performance Using Double Backpropagation, 1992.
    """

    def __init__(self) -> None:
        # By the size of images: a network may treat some sizes in its own way, such as by padding.
        self._checked: dict[tuple[int, ...], CheckedNetworks] = {}

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
        checked = self._checked.setdefault(tuple(images.shape[1:]), CheckedNetworks())
        if network not in checked:
            _check_second_derivative(network, regularization, forward.logits)
            checked.add(network)
        loss = forward.classification + weight * regularization
        if forward.beside is not None:
            loss = loss + forward.beside
        return EngineOutput(loss, forward.classification, regularization.detach(), forward.logits)


def _check_second_derivative(network: nn.Module, regularization: Tensor, logits: Tensor) -> None:
    named = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
    try:
        found = torch.autograd.grad(regularization, list(named.values()), retain_graph=True, allow_unused=True)
    except RuntimeError as error:
        raise RuntimeError(
            f"`network`: an operation of {type(network).__name__} has no second derivative, which DoubleBackprop needs "
            f"({error}). {_remedy(str(error))}"
        ) from error
    # In float16 a gradient may overflow, which a gradient scaler deals with.
    if not bool(regularization.isfinite()) or logits.dtype == torch.float16:
        return
    wrong = [
        name
        for name, gradient in zip(named, found, strict=True)
        if gradient is not None and not bool(gradient.isfinite().all())
    ]
    if wrong:
        raise RuntimeError(
            f"`network`: a second derivative of {type(network).__name__} is NaN or infinite, as that of a norm at zero "
            f"is: L_R is {float(regularization.detach()):.3g}, but its gradient is not finite at {wrong[0]!r}"
            + (f" and {len(wrong) - 1} more parameters" if len(wrong) > 1 else "")
            + ". Use engine=FrozenGates(), which takes no second derivative, or images of another size"
        )


def _remedy(error: str) -> str:
    if "torch.compile" in error:
        return "Train the network as it was before compiling."
    if "attention" in error:
        return (
            "Use engine=FrozenGates(), which needs none, or take the step, and its backward, inside of "
            "torch.nn.attention.sdpa_kernel(SDPBackend.MATH)."
        )
    return "Use engine=FrozenGates(), which needs none, or replace that operation."
