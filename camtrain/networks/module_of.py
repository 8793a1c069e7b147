"""The module inside whatever users call a network."""

from __future__ import annotations

from typing import Any

from torch import nn


def module_of(network: Any, name: str = "network") -> nn.Module:
    """Return the `nn.Module` of a network, unwrapping an object that holds one as its attribute `network`.

    Args:
        network: An `nn.Module`, or an object such as a `LoadedNetwork` whose attribute `network` is one. A module is
            returned as it is, even if it has such an attribute itself.
        name: The name of the argument, for the message.

    Raises:
        TypeError: If it is neither.

    Example:
        >>> from types import SimpleNamespace
        >>> module_of(SimpleNamespace(network=nn.Identity()))
        Identity()
        >>> module_of("resnet18")
        Traceback (most recent call last):
        TypeError: `network`: expected an nn.Module, or an object whose attribute `network` is one, got str
    """
    if isinstance(network, nn.Module):
        return network
    module = getattr(network, "network", None)
    if isinstance(module, nn.Module):
        return module
    got = f"the class {network.__name__}" if isinstance(network, type) else type(network).__name__
    raise TypeError(f"`{name}`: expected an nn.Module, or an object whose attribute `network` is one, got {got}")
