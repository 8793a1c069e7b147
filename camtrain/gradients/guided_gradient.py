"""Guided backpropagation of a loss, through the graph of its forward pass."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from camtrain.gradients.graph import OPAQUE_REGIONS, nodes_between
from camtrain.gradients.input_gradient import check_graph, input_gradient

if TYPE_CHECKING:
    from torch.autograd.graph import Node

# Activations that rectify, but not at zero: guided backpropagation is not defined for them.
_OTHER_RECTIFIERS = (
    "Celu", "Elu", "Gelu", "Hardswish", "LeakyRelu", "Maximum", "Mish", "PreluKernel", "RreluWithNoise", "Silu",
    "Softplus",
)  # fmt: skip


def guided_gradient(loss: Tensor, images: Tensor) -> Tensor:
    """The guided-backpropagation gradient of a loss with respect to the images, detached.

    A backward pass in which each ReLU passes a gradient only where its input *and* the gradient are positive:

        R_l = 1[f_l > 0] · 1[R_{l+1} > 0] · R_{l+1}

    As in Algorithm 1, this is the guided gradient of `loss` itself. Guided backpropagation is not linear: that of the
    loss is not minus that of the label's logit.

    The ReLUs are found in the autograd graph between `loss` and `images`; those of a branch that does not lead to the
    images do not matter, such as that of a position bias. There is no second network, and no module is changed. Modules
    and functions, in-place and reused ReLUs, ReLU6, `hardtanh(min_val=0)`, `threshold(0)` and `clamp(min=0)` all count.
    Other activations of a network that also has ReLUs (hardswish, SiLU, custom autograd functions) pass their plain
    derivative, with a warning. A ReLU written as `where` or as a product with a mask is not recognized.

    Args:
        loss: 0-dim, computed from `images`. Its graph is kept.
        images: (N, C, H, W), requires grad.

    Returns:
        (N, C, H, W), detached.

    Raises:
        TypeError: If `loss` or `images` is no tensor.
        ValueError: If the graph has no ReLU-like node, or hides its nodes (`torch.compile`, reentrant checkpointing, a
            ReLU that works in place on a view).

    Cost:
        One backward pass to the input over the existing graph, without the parameters.

    Source:
        Springenberg et al., Striving for Simplicity: The All Convolutional Net, ICLR workshop 2015, arXiv 1412.6806.

    Example:
        >>> import torch
        >>> images = torch.tensor([[[[1.0, 2.0]]]], requires_grad=True)
        >>> loss = -torch.relu(images).sum()
        >>> guided_gradient(loss, images)  # the plain gradient is -1: it arrives negative at the ReLU
        tensor([[[[0., 0.]]]])
    """
    check_graph(loss, images)
    gates = _gates(loss, images)
    with ExitStack() as hooks:
        for gate in gates:
            hooks.enter_context(_positive_gradients_only(gate))
        return input_gradient(loss, images).detach()


@contextmanager
def _positive_gradients_only(gate: Node) -> Iterator[None]:
    def keep_positive(gradients: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
        return tuple(None if gradient is None else gradient.clamp(min=0) for gradient in gradients)

    handle = gate.register_prehook(keep_positive)
    try:
        yield
    finally:
        handle.remove()


def _gates(loss: Tensor, images: Tensor) -> list[Node]:
    """The ReLU-like nodes that a gradient passes through on its way from `loss` to `images`."""
    nodes = list(nodes_between(loss, images))
    if not nodes:
        return []  # `input_gradient` says that the loss was not computed from the images
    names = Counter(node.name() for node in nodes)
    hidden = sum(_hides_gate(node) for node in nodes)
    if hidden:
        raise ValueError(
            f"`loss`: its graph hides {hidden} activation(s) that work in place on a view of another tensor (after "
            "flatten, reshape or indexing), so guided backpropagation cannot reach them. Use inplace=False there."
        )
    for region in OPAQUE_REGIONS:
        if names[region]:
            raise ValueError(
                f"`loss`: its graph hides activations in {names[region]} {region} node(s), so guided backpropagation "
                "cannot reach them. Call the network without torch.compile or torch.jit, or checkpoint with "
                "use_reentrant=False."
            )
    gates = [node for node in nodes if _is_gate(node)]
    # Some functions have a separate node for their in-place form, "...Backward1".
    counts = {name: names[f"{name}Backward0"] + names[f"{name}Backward1"] for name in _OTHER_RECTIFIERS}
    others = {name: count for name, count in counts.items() if count}
    own = Counter(node.name() for node in nodes if issubclass(type(node), torch.autograd.function.BackwardCFunction))
    others |= {name.removesuffix("Backward"): count for name, count in own.items()}
    found = ", ".join(f"{count} {name}" for name, count in others.items())
    if not gates:
        raise ValueError(
            "`loss`: its graph has no ReLU-like activation, so its guided gradient would be the plain gradient. "
            f"Found: {found or 'no known activation'}. Use a network with ReLU or ReLU6, replace its activations, or "
            "choose a regularizer that needs no guided gradient, such as GradientNorm, RightForRightReasons or a "
            "penalty on a map."
        )
    if others:
        warnings.warn(
            f"guided gradient: {len(gates)} ReLU-like activations are guided, {found} pass their plain derivative",
            stacklevel=3,
        )
    return gates


def _is_gate(node: Node) -> bool:
    """Whether the node computes max(x, 0), possibly with an upper limit."""
    saved: Any = node
    match node.name():
        case "ReluBackward0":
            return True
        case "HardtanhBackward0":
            return bool(saved._saved_min_val == 0)
        case "ThresholdBackward0" | "ThresholdBackward1":
            return bool(saved._saved_threshold == 0)
        case "ClampBackward1" | "ClampMinBackward0":
            return bool(saved._saved_min == 0)
        case _:
            return False


def _hides_gate(node: Node) -> bool:
    """Whether the node stands for an in-place ReLU on a view. Autograd then calls the ReLU's own node without hooks."""
    if node.name() != "torch::autograd::CopySlices":
        return False
    # Torch before 2.14 lacks this attribute. Then assume a ReLU: an error is better than a silent plain gradient.
    inner: Node | None = getattr(node, "_wrapped_node", None)
    return inner is None or _is_gate(inner)
