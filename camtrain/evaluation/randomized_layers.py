"""A network that forgets what it has learned, from its top down, and remembers it again."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from camtrain.gradients.randomness import left_randomness
from camtrain.positive_integer import positive_integer


def randomized_layers(network: nn.Module, num_stages: int, seed: int = 0) -> Iterator[list[str]]:
    """Give the layers of a network random weights, group by group from the last one to the first.

    At each step of the loop one more group is random, at the last step all are. Afterwards the network is what it was,
    to the bit, also if the loop is left early or with an error (a loop that is left early ends where the iterator is
    closed or forgotten).

    A layer is a module that has parameters of its own, in the order in which `named_modules` has them; groups are as
    even as they can be, and the top ones the smaller ones. A layer is reset by its own `reset_parameters`, as at the
    beginning of a training; what that does not reach (a class token, a scale, the two factors of
    `torch.nn.utils.weight_norm`) draws from a normal distribution of its own mean and standard deviation. The running
    statistics of a normalization layer that has parameters are reset with it. A network may begin otherwise than its
    layers do, and deep ones whose convolutions begin as PyTorch has it pass on hardly any signal.

    Args:
        network: it is changed inside the loop.
        num_stages: L groups; as many as there are layers, at most.
        seed: of the weights; torch's generators are left as found.

    Yields:
        Names of the layers of the group that was randomized last.

    Raises:
        ValueError: if there are fewer layers than groups, or `num_stages` is no positive integer.

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
            with left_randomness(device), torch.no_grad():
                _seed(seed + stage, device)
                for _, module in layers[low:high]:
                    _reset(module)
            yield [name for name, _ in layers[low:high]]
    finally:
        with torch.no_grad():
            for value, before in learned:
                value.copy_(before)


def layers_with_parameters(network: nn.Module, at_least: int) -> list[tuple[str, nn.Module]]:
    """The layers that can be randomized, with their names.

    Raises:
        ValueError: if there are fewer than `at_least`, the number of stages, or that is no positive integer.
    """
    positive_integer("num_stages", at_least)
    layers = [(name, module) for name, module in network.named_modules() if module._parameters]
    layers = [(name, module) for name, module in layers if any(own is not None for own in module._parameters.values())]
    if len(layers) < at_least:
        raise ValueError(f"`num_stages`: expected at most the {len(layers)} layers with parameters, got {at_least}")
    return layers


def _tensors(network: nn.Module) -> Iterator[Tensor]:
    """Parameters and buffers, also those that are not saved."""
    yield from network.parameters()
    yield from network.buffers()


def _seed(seed: int, device: torch.device) -> None:
    """Only the generators that `left_randomness` restores: `torch.manual_seed` would reach those of every device."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


def _reset(module: Any) -> None:
    """Begin anew; called without gradients."""
    own = list(module.parameters(recurse=False))
    versions = [parameter._version for parameter in own]
    if hasattr(module, "reset_parameters"):
        module.reset_parameters()
    # Under `weight_norm` the weight that it resets is made of two parameters, which it does not know.
    for parameter in [each for each, version in zip(own, versions, strict=True) if each._version == version]:
        spread = parameter.std(correction=0) if parameter.numel() else parameter.new_zeros(())
        parameter.copy_(parameter.mean() + spread * torch.randn_like(parameter))
