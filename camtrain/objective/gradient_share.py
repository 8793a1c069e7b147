"""The fraction of the parameters' gradient that the regularizer contributes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def gradient_share(loss: Tensor, classification: Tensor, network: nn.Module) -> Tensor:
    """‖λ ∇L_R‖ / (‖∇L_C‖ + ‖λ ∇L_R‖) over all parameters that require a gradient, 0-dim, in [0, 1].

    The gradient of λ L_R is that of L minus that of L_C, whichever engine made L.

    Args:
        loss: L, 0-dim; its graph is kept.
        classification: L_C, 0-dim, in the graph; the same tensor as `loss` in plain training.
        network: The network whose parameters are meant.

    Cost:
        Two backward passes; none in plain training.

    Example:
        >>> network = nn.Linear(1, 1, bias=False)
        >>> outputs = network(torch.ones(1, 1)).sum()
        >>> gradient_share(outputs + 3 * outputs, outputs, network)
        tensor(0.7500)
    """
    if loss is classification:
        return torch.zeros_like(loss.detach())
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    # This factor cancels in the fraction; it keeps float16 gradients from vanishing.
    factor = loss.new_tensor(2.0**10)
    of_both, of_classification = (
        torch.autograd.grad(each, parameters, factor, retain_graph=True, allow_unused=True, materialize_grads=True)
        for each in (loss, classification)
    )
    of_regularizer = [both - first for both, first in zip(of_both, of_classification, strict=True)]
    regularizer_norm, classification_norm = _norm(of_regularizer), _norm(of_classification)
    total = regularizer_norm + classification_norm
    return regularizer_norm / total.clamp(min=torch.finfo(total.dtype).tiny)


def _norm(gradients: Sequence[Tensor]) -> Tensor:
    norms = torch.stack([torch.linalg.vector_norm(gradient) for gradient in gradients])
    norm: Tensor = torch.linalg.vector_norm(norms)
    return norm
