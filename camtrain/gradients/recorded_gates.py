"""Recording the gates of a forward pass, and repeating the pass on other images with its gates held.

`RecordedGates` notes on which side of each kink every element is. `ReplayedGates` makes a second pass of the same
network compute the same side, whatever its own input is: its gates are *held*. With its gates held a ReLU network is
smooth.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from camtrain.gradients.gate import Memory
from camtrain.gradients.gates import GATES
from camtrain.gradients.unseen_kinks import unseen_kinks

_NOT_THE_SAME = "FrozenGates needs a forward that does the same in both passes; use engine=DoubleBackprop()."


class RecordedGates(TorchFunctionMode):
    """A context that records the gates of the forward pass inside it.

    Attributes:
        calls: The name of each function of `GATES` that was called, with its memory, in order.
        dtypes: The precisions that the gates computed in, which the network may choose itself by autocast.

    Cost:
        One byte for each element of an activation function's output, and the indices of max pooling.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, Memory]] = []
        self.dtypes: set[torch.dtype] = set()

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Record one call; torch passes each call of its functions here."""
        name = _name(function)
        if name not in GATES:
            return function(*args, **(kwargs or {}))
        if _checkpointed():
            raise ValueError(
                "`network`: FrozenGates cannot hold the gates of a block that torch.utils.checkpoint runs once more; "
                "train without activation checkpointing, or with engine=DoubleBackprop()"
            )
        output, memory = GATES[name].record(function, args, kwargs or {})
        self.calls.append((name, memory))
        if isinstance(output, Tensor) and output.is_floating_point():
            self.dtypes.add(output.dtype)
        return output

    def check(self, loss: Tensor) -> None:
        """Check that every kink in the graph of `loss` was recorded.

        Raises:
            ValueError: If one was not: a function with kinks that is not in `GATES`, a gate inside a scripted or
                compiled region, or a custom autograd function.
        """
        unseen = unseen_kinks(loss, Counter(name for name, _ in self.calls))
        if unseen:
            raise ValueError(
                f"`network`: FrozenGates cannot hold {', '.join(unseen)}. Use the uncompiled network with functions of "
                "torch.nn.functional or torch.nn, or engine=DoubleBackprop()."
            )


class ReplayedGates(TorchFunctionMode):
    """A context that holds the gates of the forward pass inside it as an earlier pass of the network recorded them.

    Args:
        recorded: The gates of the earlier pass.

    Raises:
        RuntimeError: If the pass does not call the same functions in the same order.
    """

    def __init__(self, recorded: RecordedGates) -> None:
        super().__init__()
        self._calls = iter(recorded.calls)

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Replay one call; torch passes each call of its functions here."""
        name = _name(function)
        if name not in GATES:
            return function(*args, **(kwargs or {}))
        recorded, memory = next(self._calls, ("nothing", ()))
        if recorded != name:
            raise RuntimeError(
                f"`network`: its second pass called {name} where its first called {recorded}. {_NOT_THE_SAME}"
            )
        return GATES[name].replay(memory, args, kwargs or {}, in_place=_works_in_place(function))

    def __exit__(self, *exception: Any) -> None:
        """Check that the pass called all of the recorded functions."""
        super().__exit__(*exception)  # type: ignore[no-untyped-call]
        left_out = [name for name, _ in self._calls]
        if left_out and exception[0] is None:
            raise RuntimeError(
                f"`network`: its second pass did not call {left_out[0]}, which its first called. {_NOT_THE_SAME}"
            )


def _checkpointed() -> bool:
    """Whether non-reentrant checkpointing will compute the tensors saved here once more."""
    if torch.compiler.is_compiling():  # The hooks cannot be read then; `check` finds compiled regions.
        return False
    hooks = torch._C._autograd._top_saved_tensors_default_hooks(True)
    return hooks is not None and "checkpoint" in getattr(hooks[0], "__module__", "")


def _name(function: Callable[..., Any]) -> str:
    name = getattr(function, "__name__", "")
    if name == "__get__":  # The function reads an attribute, such as `data`.
        name = getattr(getattr(function, "__self__", None), "__name__", "")
    return name.strip("_")


def _works_in_place(function: Callable[..., Any]) -> bool:
    return function.__name__.endswith("_") and not function.__name__.endswith("__")
