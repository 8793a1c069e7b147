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


def nodes_between(loss: Tensor, images: Tensor) -> Iterator[Node]:
    """The nodes of the graph of `loss` that a gradient passes through on its way to `images`, each once.

    Args:
        loss: A tensor with a graph.
        images: A tensor that requires grad.

    Example:
        >>> import torch
        >>> x, w = torch.ones(1, requires_grad=True), torch.ones(1, requires_grad=True)
        >>> [node.name() for node in nodes_between((torch.relu(w) * x).sum(), x)]
        ['SumBackward0', 'MulBackward0', 'torch::autograd::AccumulateGrad']
    """
    nodes = list(graph_nodes(loss))
    users: dict[Node, list[Node]] = {}
    for node in nodes:
        for successor, _ in node.next_functions:
            if successor is not None:
                users.setdefault(successor, []).append(node)
    pending = [node for node in nodes if node is images.grad_fn or getattr(node, "variable", None) is images]
    leading = set(pending)
    while pending:
        for user in users.get(pending.pop(), []):
            if user not in leading:
                leading.add(user)
                pending.append(user)
    return (node for node in nodes if node in leading)
