"""A network whose layers are randomized stage by stage, from the last to the first, and restored afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from camtrain.evaluation.need import MapNeed
from camtrain.gradients.seeded import seeded
from camtrain.messages import positive_integer


def randomized_layers(network: nn.Module, num_stages: int, seed: int = 0) -> Iterator[list[str]]:
    """Give the layers of a network random weights, group by group from the last to the first.

    Each step of the loop randomizes one more group; at the last step all layers are random. Afterwards the network is
    restored to the bit, also after an error or if the loop is left early (then as soon as the iterator is closed or
    garbage-collected).

    A layer is a module with parameters of its own; layers are ordered as in `named_modules`. The groups are as even as
    possible, and the last groups are the smaller ones. Each layer is reset by its own `reset_parameters`, as before a
    training. A parameter that this method does not change (a class token, a scale, the two factors of
    `torch.nn.utils.weight_norm`) is drawn from a normal distribution with the parameter's mean and standard deviation.
    The running statistics of a normalization layer with parameters are reset with it. A network may initialize its
    layers in another way; a deep network whose convolutions have PyTorch's initialization passes on hardly any signal.

    Args:
        network: The network, which is changed inside the loop.
        num_stages: The number of groups, L; at most the number of layers.
        seed: The seed of the weights. The state of torch's generators is left as found.

    Yields:
        The names of the layers in the group that was randomized last.

    Raises:
        ValueError: If there are fewer layers than groups, or `num_stages` is no positive integer.

    Source:
        Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018, arXiv 1810.03292, section 3: cascading
        randomization.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4, 2))
        >>> before = network[0].weight.clone()
        >>> for names in randomized_layers(network, num_stages=2):
        ...     print(names, torch.equal(network[0].weight, before))
        ['3'] True
        ['0'] False
        >>> torch.equal(network[0].weight, before)
        True
    """
    layers = layers_with_parameters(network, num_stages)
    learned = [(value, value.detach().clone()) for value in _tensors(network)]
    bounds = [len(layers) * (num_stages - stage) // num_stages for stage in range(num_stages + 1)]
    device = next(network.parameters()).device
    try:
        for stage, (high, low) in enumerate(pairwise(bounds)):
            with seeded(seed + stage, device), torch.no_grad():
                for _, module in layers[low:high]:
                    _reset(module)
            yield [name for name, _ in layers[low:high]]
    finally:
        with torch.no_grad():
            for value, before in learned:
                value.copy_(before)


def layers_with_parameters(network: nn.Module, at_least: int) -> list[tuple[str, nn.Module]]:
    """The names and modules of the layers that can be randomized.

    Args:
        network: The network.
        at_least: The number of stages.

    Raises:
        ValueError: If there are fewer layers than `at_least`, or it is no positive integer.
    """
    positive_integer("num_stages", at_least)
    layers = [(name, module) for name, module in network.named_modules() if module._parameters]
    layers = [(name, module) for name, module in layers if any(own is not None for own in module._parameters.values())]
    if len(layers) < at_least:
        raise ValueError(f"`num_stages`: expected at most the {len(layers)} layers with parameters, got {at_least}")
    return layers


def _tensors(network: nn.Module) -> Iterator[Tensor]:
    """Parameters and buffers, including buffers that are not saved."""
    yield from network.parameters()
    yield from network.buffers()


def _reset(module: Any) -> None:
    """Initialize a layer; called without gradients."""
    own = list(module.parameters(recurse=False))
    versions = [parameter._version for parameter in own]
    if hasattr(module, "reset_parameters"):
        module.reset_parameters()
    # Under `weight_norm` it resets a weight that is computed from two parameters, which stay as they are.
    for parameter in [each for each, version in zip(own, versions, strict=True) if each._version == version]:
        spread = parameter.std(correction=0) if parameter.numel() else parameter.new_zeros(())
        parameter.copy_(parameter.mean() + spread * torch.randn_like(parameter))


RANDOMIZED_CAMS = MapNeed(
    name="randomized_cams",
    of="the randomized network",
    question=lambda batch, measured: (batch.images, batch.class_idx),
    stages=lambda batch: randomized_layers(batch.network, batch.settings.num_stages, batch.settings.seed),
    check=lambda network, settings: layers_with_parameters(network, settings.num_stages),
)
"""(N, L, H, W) normalized maps of the network after each of L stages of randomization."""
