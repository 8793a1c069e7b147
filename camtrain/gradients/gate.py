"""The base of all gates: functions with kinks that can be recorded and held."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

Memory = tuple[Tensor, ...]
"""What is remembered of one call: the sides of the kinks, or indices."""


class Gate(ABC):
    """A function with kinks: how its sides are recorded, and how it is computed with given sides.

    Attributes:
        parameters: Names of the function's arguments after the input, in order.
        defaults: Values of the arguments that a caller may leave out.
    """

    parameters: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = {}

    def arguments(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """The input of a call, and its other arguments by name."""
        named = dict(zip(("input", *self.parameters), args, strict=False))
        named = {**self.defaults, **named, **kwargs}
        # Tensor methods call their tensor `self`.
        images = named.pop("input") if "input" in named else named.pop("self")
        return images, named

    @abstractmethod
    def record(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Any) -> tuple[Any, Memory]:
        """The output of the call, and its memory for `replay`."""

    @abstractmethod
    def replay(self, memory: Memory, args: tuple[Any, ...], kwargs: Any, *, in_place: bool) -> Any:
        """The output of the call with the recorded sides.

        Args:
            memory: What `record` returned for the corresponding call of the first pass.
            args: Positional arguments of the call.
            kwargs: Keyword arguments of the call.
            in_place: Whether the function's name says that it works in place, as `relu_` does.
        """
