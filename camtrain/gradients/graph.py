"""The autograd graph of a loss, as a collection of nodes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from torch.autograd.graph import Node

OPAQUE_REGIONS = (
    "CompiledFunctionBackward",
    "CheckpointFunctionBackward",
    "torch::jit::(anonymous namespace)::DifferentiableGraphBackward",
)
"""The names of nodes that stand for a whole region of the network and hide the activations in it."""


def graph_nodes(loss: Tensor) -> Iterator[Node]:
    """Every node of the graph of `loss`, once.

    Example:
        >>> import torch
        >>> x = torch.ones(1, requires_grad=True)
        >>> [node.name() for node in graph_nodes(torch.relu(x).sum())]
        ['SumBackward0', 'ReluBackward0', 'torch::autograd::AccumulateGrad']
    """
    pending: list[Node | None] = [loss.grad_fn]
    seen = set()
    while pending:
        node = pending.pop()
        if node is not None and node not in seen:
            seen.add(node)
            yield node
            pending.extend(successor for successor, _ in node.next_functions)
