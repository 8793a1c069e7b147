"""What is found out about a network once and remembered."""

from __future__ import annotations

from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from torch import nn

T = TypeVar("T")


class PerNetwork(WeakKeyDictionary[nn.Module, T], Generic[T]):
    """A dictionary from networks to values.

    An entry does not keep its network alive and disappears with it, so a value must not refer to the network or one of
    its modules; store a module's name. A copy or a pickle starts empty: its networks are copies too, with no entry yet.

    Example:
        >>> import copy
        >>> network, layers = nn.Identity(), PerNetwork[str]()
        >>> layers[network] = "layer4"
        >>> layers[network], len(copy.deepcopy(layers))
        ('layer4', 0)
    """

    def __copy__(self) -> PerNetwork[T]:
        return type(self)()

    copy = __copy__

    def __deepcopy__(self, memo: Any) -> PerNetwork[T]:
        return type(self)()

    def __reduce__(self) -> tuple[type[PerNetwork[T]], tuple[()]]:
        return type(self), ()


def modes(network: nn.Module) -> tuple[bool, ...]:
    """For each module of a network, whether it is in training mode."""
    return tuple(module.training for module in network.modules())
