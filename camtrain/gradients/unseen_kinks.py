"""The kinks in the graph of a loss that recorded gates do not account for."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from camtrain.gradients.graph import OPAQUE_REGIONS, graph_nodes

# Kinds of nodes that have kinks, each with the functions of `GATES` whose calls create such a node.
_SEEN_AS: dict[str, tuple[str, ...]] = {
    "Relu": ("relu",),
    "Hardtanh": ("hardtanh", "relu6"),
    "LeakyRelu": ("leaky_relu",),
    "PreluKernel": ("prelu",),
    "Threshold": ("threshold",),
    "Hardswish": ("hardswish",),
    "Hardsigmoid": ("hardsigmoid",),
    "Elu": ("elu", "selu"),
    "Abs": ("abs", "absolute"),
    "Clamp": ("clamp", "clip"),
    "ClampMin": ("clamp_min", "clamp", "clip"),
    "ClampMax": ("clamp_max", "clamp", "clip"),
    "MaxPool2DWithIndices": ("max_pool2d", "max_pool2d_with_indices", "max_pool1d", "max_pool1d_with_indices"),
    "MaxPool3DWithIndices": ("max_pool3d", "max_pool3d_with_indices"),
    "AdaptiveMaxPool2D": ("adaptive_max_pool2d", "adaptive_max_pool2d_with_indices", "adaptive_max_pool1d",
                          "adaptive_max_pool1d_with_indices"),
    "AdaptiveMaxPool3D": ("adaptive_max_pool3d", "adaptive_max_pool3d_with_indices"),
}  # fmt: skip
# Kinds of nodes that have kinks and no entry in `GATES`.
_UNKNOWN = (
    "Amax", "Amin", "Aminmax", "Cummax", "Cummin", "FakeQuantizePerChannelAffineCachemask",
    "FakeQuantizePerTensorAffineCachemask", "Fmax", "Fmin", "FractionalMaxPool2D", "FractionalMaxPool3D",
    "GridSampler2D", "GridSampler3D", "Hardshrink", "Kthvalue", "Max", "Maximum", "Median", "Min", "Minimum", "Mode",
    "Nanmedian", "RreluWithNoise", "Softshrink", "Sort", "Topk",
)  # fmt: skip
# Autograd functions written in Python that torch itself uses; all are smooth.
_SMOOTH = (
    "BackwardHookFunctionBackward", "SyncBatchNormBackward", "_AllGatherBackward", "_AllReduceBackward",
    "_DDPSinkBackward",
)  # fmt: skip
_GUARD = 1e-6  # A clamp to a positive minimum below this protects a division and is never active where it matters.


def unseen_kinks(loss: Tensor, seen: Counter[str]) -> list[str]:
    """A phrase for each kind of kink in the graph of a loss that was not seen, for an error message.

    Args:
        loss: A tensor with a graph.
        seen: How often each function of `GATES` was called in the pass that `loss` was computed by.

    Example:
        >>> x = torch.ones(2, requires_grad=True)
        >>> unseen_kinks(torch.relu(x).sum(), Counter(relu=1)), unseen_kinks(x.amax(), Counter())
        ([], ['1 Amax'])
    """
    nodes = list(graph_nodes(loss))
    return [*_hidden(nodes), *_uncounted(nodes, seen)]


def _hidden(nodes: list[Any]) -> Iterator[str]:
    """Nodes that may have kinks inside."""
    for node in nodes:
        name = node.name()
        if name in OPAQUE_REGIONS:
            yield f"what is inside a {name} node"
        elif isinstance(node, torch.autograd.function.BackwardCFunction) and name not in _SMOOTH:
            yield f"the kinks, if any, of the autograd function {name.removesuffix('Backward')}"


def _uncounted(nodes: list[Any], seen: Counter[str]) -> Iterator[str]:
    """Kinds of nodes with kinks that have no gate, or that are more than the calls that were seen."""
    kinked = Counter(_kind(node) for node in nodes if not _is_guard(node))
    for kind, count in kinked.items():
        if kind in _UNKNOWN:
            yield f"{count} {kind}"
        elif kind in _SEEN_AS and (missing := count - sum(seen[name] for name in _SEEN_AS[kind])) > 0:
            yield f"{missing} {kind} that torch's function mode does not see"


def _kind(node: Any) -> str:
    """The name of a node without its number; for a norm, the name of a node with the same kinks."""
    name: str = node.name()
    if name.startswith(("LinalgVectorNorm", "Norm")):
        order = getattr(node, "_saved_ord", getattr(node, "_saved_p", 2))
        return {1: "Abs", math.inf: "Max", -math.inf: "Min"}.get(order, "Norm")
    return name.rstrip("0123456789").removesuffix("Backward")


def _is_guard(node: Any) -> bool:
    low = getattr(node, "_saved_min", None)
    return _kind(node) in ("Clamp", "ClampMin") and isinstance(low, (int, float)) and 0 < low <= _GUARD
