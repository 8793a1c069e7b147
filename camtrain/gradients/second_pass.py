"""The second pass of `FrozenGates`, and the checks that a network allows one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch._dynamo import OptimizedModule

from camtrain.gradients.batch_norm import frozen_batch_norm, running_batch_norm
from camtrain.gradients.engine import ClassificationLoss, ForwardPass, InputGradientPenalty
from camtrain.gradients.graph import graph_nodes
from camtrain.gradients.randomness import Randomness
from camtrain.gradients.recorded_gates import RecordedGates, ReplayedGates

_LARGEST_DIFFERENCE = 0.02  # Relative, between the logits of two equal passes; rounding, also in bfloat16, stays below.


@contextmanager
def second_pass(
    network: nn.Module, penalty: InputGradientPenalty, randomness: Randomness, gates: RecordedGates
) -> Iterator[None]:
    """Run the network inside this context as in its first pass, apart from the images.

    BatchNorm uses the same kind of statistics and leaves its running averages alone, dropout draws the same masks, and
    the gates are held.

    Args:
        network: The network, in the modes of its first pass.
        penalty: Says which BatchNorm statistics the first pass used.
        randomness: The state of the random generators before the first pass.
        gates: The gates that the first pass recorded.
    """
    statistics = running_batch_norm if penalty.batch_norm_statistics == "running" else frozen_batch_norm
    with statistics(network), randomness.replayed(), ReplayedGates(gates):
        yield


def check_modules(network: nn.Module) -> None:
    """Check that no module of a network hides its gates or changes from pass to pass.

    Raises:
        ValueError: If a module was compiled or has a spectral norm.
    """
    for name, module in network.named_modules():
        if isinstance(module, OptimizedModule) or module._compiled_call_impl is not None:
            raise ValueError(
                f"`network`: FrozenGates cannot hold the gates inside of {name or 'a network'} that torch.compile made "
                "one graph of; train the network as it was before compiling"
            )
        normalizers = (module, *module._forward_pre_hooks.values())
        if {type(each).__name__ for each in normalizers} & {"SpectralNorm", "_SpectralNorm"}:
            raise ValueError(
                f"`network`: FrozenGates cannot hold the power iteration of spectral_norm at "
                f"{name.split('.param')[0]}; use engine=DoubleBackprop()"
            )


def check_second_pass(
    network: nn.Module,
    first: ForwardPass,
    penalty: InputGradientPenalty,
    explained_loss: ClassificationLoss,
    gates: RecordedGates,
) -> None:
    """Check that a second pass can be made of a network, after its first one.

    Args:
        network: The network.
        first: The first pass, with its graph.
        penalty: The penalty on its input gradients.
        explained_loss: From logits to the explained scalar.
        gates: The gates of the first pass.

    Raises:
        ValueError: If a kink was not recorded, the loss depends on a tensor that is not a parameter of the network, or
            a second pass on the same images gives other logits.

    Cost:
        One forward pass without a graph.
    """
    gates.check(first.explained)
    _check_leaves(network, first)
    images = first.images.detach()  # Inside the context, `detach` would be taken for a gate of the network.
    with torch.no_grad(), second_pass(network, penalty, first.randomness, gates):
        logits = network(images)
        explained_loss(logits)
    _check_repetition(first.explained_logits, logits)


def _check_leaves(network: nn.Module, first: ForwardPass) -> None:
    """A parameter that is not the network's, for instance one of the loss, would get no gradient of L_R."""
    known = {id(first.images), *(id(parameter) for parameter in network.parameters())}
    for node in graph_nodes(first.explained):
        leaf = getattr(node, "variable", None)
        if leaf is not None and id(leaf) not in known:
            raise ValueError(
                f"`network`: the loss depends on a tensor of shape {tuple(leaf.shape)} that requires grad and is not "
                "among network.parameters(); register it there, or use engine=DoubleBackprop()"
            )


def _check_repetition(first: Tensor, second: Tensor) -> None:
    """Two passes on the same images, with the same gates and random numbers, must give the same logits."""
    scale = first.detach().abs().max().clamp(min=torch.finfo(first.dtype).tiny)
    difference = float((second - first.detach()).abs().max() / scale)
    if not difference <= _LARGEST_DIFFERENCE:
        raise ValueError(
            f"`network`: a second pass on the same images gave other logits (by {difference:.0e} of the largest). "
            "FrozenGates cannot hold what changes from pass to pass, such as the power iteration of spectral_norm and "
            "random numbers that are not torch's; use engine=DoubleBackprop()"
        )
