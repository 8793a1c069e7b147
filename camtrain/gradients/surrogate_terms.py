"""Two autograd functions that put gradients known in advance into the loss of `FrozenGates`.

Both leave values as they are and change only what a backward pass computes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def with_row_factors(logits: Tensor, factors: Tensor) -> Tensor:
    """The logits, with the gradient of each row multiplied by a factor in the backward pass.

    A mean over the images of any function of a row then has the gradient of the mean weighted by `factors`.

    Args:
        logits: (N, K).
        factors: (N,).

    Returns:
        (N, K), equal to `logits`.

    Example:
        >>> logits = torch.zeros(2, 1, requires_grad=True)
        >>> with_row_factors(logits, torch.tensor([2.0, 5.0])).sum().backward()
        >>> logits.grad.flatten()
        tensor([2., 5.])
    """
    scaled: Tensor = _RowFactors.apply(logits, factors)
    return scaled


def zero_with_gradients(parameters_and_gradients: list[tuple[nn.Parameter, Tensor]], scale: Tensor) -> Tensor:
    """Zero, 0-dim, with a multiple of the given gradient with respect to each parameter.

    Each parameter has a node of its own in the graph, so that the backward pass makes one multiple at a time and frees
    the gradient that it was made of, instead of holding all of them twice.

    Args:
        parameters_and_gradients: Each parameter with its gradient; at least one pair.
        scale: 0-dim, the factor of all gradients.

    Example:
        >>> weight = nn.Parameter(torch.ones(2))
        >>> zero = zero_with_gradients([(weight, torch.tensor([3.0, 4.0]))], torch.tensor(2.0))
        >>> zero.backward()
        >>> zero.item(), weight.grad
        (0.0, tensor([6., 8.]))
    """
    return torch.stack([_ZeroWithGradient.apply(*pair, scale) for pair in parameters_and_gradients]).sum()


def times_factors(rows: Tensor, factors: Tensor) -> Tensor:
    """Rows (N, K) times factors (N,), computed in the precision of the factors: bfloat16 would round λ/h to 8 bits."""
    return (rows.to(torch.promote_types(rows.dtype, factors.dtype)) * factors.view(-1, 1)).to(rows.dtype)


class _RowFactors(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, factors: Tensor) -> Tensor:
        ctx.save_for_backward(factors)
        return logits.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return times_factors(gradient, ctx.saved_tensors[0]), None


class _ZeroWithGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, parameter: Tensor, gradient: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(gradient, scale)
        return scale.new_zeros(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, factor: Tensor) -> Any:
        gradient, scale = ctx.saved_tensors
        return factor * scale * gradient, None, None
