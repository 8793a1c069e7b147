"""A network without its head, for callbacks that freeze it and let it go."""

from __future__ import annotations

from torch import nn

from camtrain.networks.last_linear import last_linear


def backbone(network: nn.Module) -> nn.ModuleList:
    """All modules of a network but its head, the last linear layer.

    Modules around the head are replaced by their other parts, and by a list of the parameters of their own. What is in
    the list is what is in the network, not copies.

    Args:
        network: A network with a linear layer.

    Raises:
        ValueError: If it has none.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Sequential(nn.Dropout(), nn.Linear(4, 2)))
        >>> [type(module).__name__ for module in backbone(network)]
        ['Conv2d', 'Flatten', 'Dropout']
    """
    name = last_linear(network)
    if name is None:
        raise ValueError(f"`network`: expected one with a linear layer, its head; {type(network).__name__} has none")
    parts: list[nn.Module] = []
    around = network
    for child in name.split("."):
        if own := list(around.parameters(recurse=False)):
            parts.append(nn.ParameterList(own))
        parts += [module for other, module in around.named_children() if other != child]
        around = around.get_submodule(child)
    return nn.ModuleList(parts)
