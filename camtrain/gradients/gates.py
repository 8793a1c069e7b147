"""The kinks of a network: which side of each a forward pass was on, and the same pass again with the sides held.

A ReLU, a hard activation or a max pooling is linear (or smooth) on each side of its kinks. `RecordedGates` watches a
forward pass and notes for each element on which side it was, that is how the gates stood; `ReplayedGates` makes another
pass of the same network on other images with the same gates. With its gates held, a ReLU network is a smooth function.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

from camtrain.gradients.graph import OPAQUE_REGIONS, graph_nodes

Memory = tuple[Tensor, ...]
"""What is kept of one call: sides or indices."""


class Gate(ABC):
    """A function with kinks: how to note its sides, and how to compute it with the sides given."""

    parameters: tuple[str, ...] = ()
    """Names of the arguments after the input, in their order, with `defaults` where they may be left out."""
    defaults: Mapping[str, Any] = {}

    def arguments(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """The input, and the other arguments by name."""
        named = dict(zip(("input", *self.parameters), args, strict=False))
        named = {**self.defaults, **named, **kwargs}
        # Tensor methods call their tensor `self`.
        images = named.pop("input") if "input" in named else named.pop("self")
        return images, named

    @abstractmethod
    def record(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Any) -> tuple[Any, Memory]:
        """Output of the call, and what to keep of it."""

    @abstractmethod
    def replay(self, memory: Memory, args: tuple[Any, ...], kwargs: Any, *, in_place: bool) -> Any:
        """Output of the call with the sides held; `in_place` if the function's name says so, not its arguments."""


class PointwiseGate(Gate):
    """A pointwise function of up to three pieces: below its first kink, between, and above its second.

    Args:
        kinks: from the arguments to (low, high); `None` where there is no such kink.
        below: value where the input is at or below the low kink.
        above: value where the input is at or above the high kink.
        between: value between the kinks.
        parameters: names of the arguments after the input.
        defaults: of these.
        open_at_kinks: whether torch's derivative at a kink is that of the piece between.
    """

    def __init__(
        self,
        kinks: Callable[[Mapping[str, Any]], tuple[float | None, float | None]],
        below: Callable[[Tensor, Mapping[str, Any]], Tensor | float],
        above: Callable[[Tensor, Mapping[str, Any]], Tensor | float] = lambda x, _: x,
        between: Callable[[Tensor, Mapping[str, Any]], Tensor] = lambda x, _: x,
        parameters: tuple[str, ...] = (),
        defaults: Mapping[str, Any] | None = None,
        open_at_kinks: bool = False,
    ) -> None:
        self.kinks, self.below, self.between, self.above = kinks, below, between, above
        self.parameters, self.defaults = parameters, defaults or {}
        self.open_at_kinks = open_at_kinks

    def record(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Any) -> tuple[Any, Memory]:
        """On which piece each element is, found before the call, which may work in place."""
        x, arguments = self.arguments(args, kwargs)
        low, high = self.kinks(arguments)
        x = x.detach()
        above = None if high is None else (x > high if self.open_at_kinks else x >= high)
        if low is None:
            side = above
        elif above is None:
            side = x < low if self.open_at_kinks else x <= low
        else:  # 0, 1 or 2: one byte an element instead of two masks
            side = (x >= low if self.open_at_kinks else x > low).view(torch.uint8).add_(above.view(torch.uint8))
        return function(*args, **kwargs), () if side is None else (side,)

    def replay(self, memory: Memory, args: tuple[Any, ...], kwargs: Any, *, in_place: bool) -> Any:
        """The pieces, put together by the sides."""
        x, arguments = self.arguments(args, kwargs)
        low, high = self.kinks(arguments)
        y = self.between(x, arguments)
        below = None if low is None else self.below(x, arguments)
        above = None if high is None else self.above(x, arguments)
        if isinstance(below, float) and isinstance(above, float):
            y = _saturated(y, memory[0], below, above)
        elif below is not None and above is not None:
            y = _filled(_filled(y, memory[0] == 0, below), memory[0] == 2, above)
        elif memory:
            y = _filled(y, memory[0], above if below is None else below)
        # In place is what the caller may rely on: it may look at its input afterwards.
        return x.copy_(y) if in_place or arguments.get("inplace", False) else y


def _filled(y: Tensor, mask: Tensor, value: Tensor | float | None) -> Tensor:
    assert value is not None  # there is a mask only where there is a kink
    return torch.where(mask, value, y) if isinstance(value, Tensor) else y.masked_fill(mask, value)


class _Saturated(torch.autograd.Function):
    """Constant below and above; for the backward pass it keeps the sides alone, which are kept anyway."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, sides: Tensor, below: float, above: float) -> Tensor:
        ctx.save_for_backward(sides)
        return y.masked_fill(sides == 0, below).masked_fill_(sides == 2, above)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        (sides,) = ctx.saved_tensors
        return gradient.masked_fill(sides != 1, 0.0), None, None, None


def _saturated(y: Tensor, sides: Tensor, below: float, above: float) -> Tensor:
    saturated: Tensor = _Saturated.apply(y, sides, below, above)
    return saturated


def _per_channel(weight: Tensor, x: Tensor) -> Tensor:
    """Slopes of a PReLU, to be multiplied with (N, C, ...)."""
    return weight if weight.numel() == 1 else weight.view(-1, *[1] * (x.dim() - 2))


class MaxPool(Gate):
    """A max pooling, whose sides are the indices of the pixels that it took."""

    def __init__(
        self, with_indices: Callable[..., tuple[Tensor, Tensor]], spatial: int, adaptive: bool, gives_both: bool
    ) -> None:
        self.with_indices, self.spatial, self.gives_both = with_indices, spatial, gives_both
        window = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
        self.parameters = ("output_size",) if adaptive else window

    def record(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Any) -> tuple[Any, Memory]:
        """The indices, which the pooling finds anyway."""
        x, arguments = self.arguments(args, kwargs)
        both = arguments.pop("return_indices", False) or self.gives_both
        y, indices = self.with_indices(x, **arguments)
        return ((y, indices) if both else y), (indices,)

    def replay(self, memory: Memory, args: tuple[Any, ...], kwargs: Any, *, in_place: bool) -> Any:
        """The pixels at the indices."""
        x, arguments = self.arguments(args, kwargs)
        (indices,) = memory
        y = x.flatten(-self.spatial).gather(-1, indices.flatten(-self.spatial)).view_as(indices)
        return (y, indices) if arguments.get("return_indices", False) or self.gives_both else y


class StepFunction(Gate):
    """A function that is constant between its kinks: `where(x > 0, ...)` and `x * (x > 0)` are gates too.

    So is what has no gradient by the network's own will, `detach`.
    """

    def record(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Any) -> tuple[Any, Memory]:
        """The values, a copy that later work in place does not change."""
        output = function(*args, **kwargs)
        return output, ((output.detach().clone(),) if isinstance(output, Tensor) else ())

    def replay(self, memory: Memory, args: tuple[Any, ...], kwargs: Any, *, in_place: bool) -> Any:
        """The same values again."""
        if not memory:
            return NotImplemented
        return args[0].copy_(memory[0]) if in_place else memory[0].clone()


class Choice(Gate):
    """A function that says which elements it chose; what is done with their indices is held.

    Where the *values* have a gradient, `RecordedGates.check` finds their node, and says that it cannot be held.
    """

    def __init__(self, name: str) -> None:
        self.returned = getattr(torch.return_types, name)

    def record(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Any) -> tuple[Any, Memory]:
        """Values and indices; `max` and its like without a dimension have values alone."""
        output = function(*args, **kwargs)
        found = output if isinstance(output, tuple) else (output,)
        return output, tuple(each.detach().clone() for each in found)

    def replay(self, memory: Memory, args: tuple[Any, ...], kwargs: Any, *, in_place: bool) -> Any:
        """The same again."""
        return memory[0].clone() if len(memory) == 1 else self.returned([each.clone() for each in memory])


_RELU = PointwiseGate(lambda _: (0.0, None), below=lambda x, _: 0.0, parameters=("inplace",))
_HARDTANH = PointwiseGate(
    lambda a: (a["min_val"], a["max_val"]),
    below=lambda x, a: a["min_val"],
    above=lambda x, a: a["max_val"],
    parameters=("min_val", "max_val", "inplace"),
    defaults={"min_val": -1.0, "max_val": 1.0},
)
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805
# Torch's derivative at zero is zero.
_ABS = PointwiseGate(
    lambda _: (0.0, 0.0), below=lambda x, _: -x, between=lambda x, _: torch.zeros_like(x), open_at_kinks=True
)
_CLAMP = PointwiseGate(
    lambda a: (a["min"], a["max"]),
    below=lambda x, a: a["min"],
    above=lambda x, a: a["max"],
    parameters=("min", "max"),
    defaults={"min": None, "max": None},
)
_MAX_POOLS = {
    name: MaxPool(function, spatial, adaptive, gives_both=name != base)
    for function, base, spatial, adaptive in (
        (F.max_pool1d_with_indices, "max_pool1d", 1, False),
        (F.max_pool2d_with_indices, "max_pool2d", 2, False),
        (F.max_pool3d_with_indices, "max_pool3d", 3, False),
        (F.adaptive_max_pool1d_with_indices, "adaptive_max_pool1d", 1, True),
        (F.adaptive_max_pool2d_with_indices, "adaptive_max_pool2d", 2, True),
        (F.adaptive_max_pool3d_with_indices, "adaptive_max_pool3d", 3, True),
    )
    for name in (base, f"{base}_with_indices")
}

_STEP_FUNCTIONS = (
    "argmax", "argmin", "argsort", "ceil", "data", "detach", "eq", "floor", "ge", "greater", "greater_equal", "gt",
    "heaviside", "le", "less", "less_equal", "lt", "ne", "not_equal", "round", "sign", "trunc",
)  # fmt: skip
_CHOICES = ("cummax", "cummin", "kthvalue", "max", "median", "min", "mode", "nanmedian", "sort", "topk")

GATES: dict[str, Gate] = {
    "relu": _RELU,
    "relu6": PointwiseGate(lambda _: (0.0, 6.0), lambda x, _: 0.0, lambda x, _: 6.0, parameters=("inplace",)),
    "hardtanh": _HARDTANH,
    "leaky_relu": PointwiseGate(
        lambda _: (0.0, None),
        below=lambda x, a: x * a["negative_slope"],
        parameters=("negative_slope", "inplace"),
        defaults={"negative_slope": 0.01},
    ),
    "prelu": PointwiseGate(
        lambda _: (0.0, None),
        below=lambda x, a: x * _per_channel(a["weight"], x),
        parameters=("weight",),
    ),
    "threshold": PointwiseGate(
        lambda a: (a["threshold"], None),
        below=lambda x, a: a["value"],
        parameters=("threshold", "value", "inplace"),
    ),
    "hardswish": PointwiseGate(
        lambda _: (-3.0, 3.0),
        below=lambda x, _: 0.0,
        # A product keeps its factors for the backward pass; in place, x would not be what it kept.
        between=lambda x, _: x.clone() * (x + 3) / 6,
        parameters=("inplace",),
    ),
    "hardsigmoid": PointwiseGate(
        lambda _: (-3.0, 3.0), lambda x, _: 0.0, lambda x, _: 1.0, lambda x, _: x / 6 + 0.5, parameters=("inplace",)
    ),
    "elu": PointwiseGate(
        lambda _: (0.0, None),
        below=lambda x, a: a["alpha"] * torch.expm1(x),
        parameters=("alpha", "inplace"),
        defaults={"alpha": 1.0},
    ),
    "selu": PointwiseGate(
        lambda _: (0.0, None),
        below=lambda x, _: _SELU_SCALE * _SELU_ALPHA * torch.expm1(x),
        between=lambda x, _: _SELU_SCALE * x,
        parameters=("inplace",),
    ),
    "abs": _ABS,
    "absolute": _ABS,
    "clamp": _CLAMP,
    "clip": _CLAMP,
    "clamp_min": PointwiseGate(lambda a: (a["min"], None), lambda x, a: a["min"], parameters=("min",)),
    "clamp_max": PointwiseGate(lambda a: (None, a["max"]), lambda x, _: x, lambda x, a: a["max"], parameters=("max",)),
    **_MAX_POOLS,
    **{name: StepFunction() for name in _STEP_FUNCTIONS},
    **{name: Choice(name) for name in _CHOICES},
}
"""By the name of the torch function, without the underscores of its in-place or operator form."""

# Nodes of the graph that have kinks, and which of `GATES` should have seen them.
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
# Nodes with kinks that nobody can hold.
_UNKNOWN = (
    "Amax", "Amin", "Aminmax", "Cummax", "Cummin", "FakeQuantizePerChannelAffineCachemask",
    "FakeQuantizePerTensorAffineCachemask", "Fmax", "Fmin", "FractionalMaxPool2D", "FractionalMaxPool3D",
    "GridSampler2D", "GridSampler3D", "Hardshrink", "Kthvalue", "Max", "Maximum", "Median", "Min", "Minimum", "Mode",
    "Nanmedian", "RreluWithNoise", "Softshrink", "Sort", "Topk",
)  # fmt: skip
# Autograd functions of torch itself, that are smooth.
_SMOOTH = (
    "BackwardHookFunctionBackward", "SyncBatchNormBackward", "_AllGatherBackward", "_AllReduceBackward",
    "_DDPSinkBackward",
)  # fmt: skip
_GUARD = 1e-6  # a clamp at less than this above zero protects a division; it is never a kink that matters


class RecordedGates(TorchFunctionMode):
    """Watches a forward pass and keeps how its gates stood.

    Memory: one byte per element of an activation function's output, and the indices of max pooling.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, Memory]] = []
        self.dtypes: set[torch.dtype] = set()
        """Precisions in which gates computed: autocast may be the network's own affair."""

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Called by torch for each of its functions."""
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
        """Make sure that every kink in the graph of `loss` was seen.

        Raises:
            ValueError: where one was not: a function with kinks that is not in `GATES`, a gate inside a scripted or
                compiled region, an autograd function of one's own.
        """
        nodes = list(graph_nodes(loss))
        unseen = [*_hidden(nodes), *_uncounted(nodes, Counter(name for name, _ in self.calls))]
        if unseen:
            raise ValueError(
                f"`network`: FrozenGates cannot hold {', '.join(unseen)}. Use the uncompiled network with functions of "
                "torch.nn.functional or torch.nn, or engine=DoubleBackprop()."
            )


class ReplayedGates(TorchFunctionMode):
    """Makes a forward pass with the gates as another one of the same network left them.

    Raises:
        RuntimeError: if it does not call the same functions in the same order.
    """

    def __init__(self, recorded: RecordedGates) -> None:
        super().__init__()
        self._calls = iter(recorded.calls)

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Called by torch for each of its functions."""
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
        """Make sure that no gate was left out."""
        super().__exit__(*exception)  # type: ignore[no-untyped-call]
        left_out = [name for name, _ in self._calls]
        if left_out and exception[0] is None:
            raise RuntimeError(
                f"`network`: its second pass did not call {left_out[0]}, which its first called. {_NOT_THE_SAME}"
            )


_NOT_THE_SAME = "FrozenGates needs a forward that does the same in both; use engine=DoubleBackprop()."


def _checkpointed() -> bool:
    """Whether the tensors saved here will be computed again, by non-reentrant checkpointing."""
    if torch.compiler.is_compiling():  # which cannot look; `check` finds compiled regions
        return False
    hooks = torch._C._autograd._top_saved_tensors_default_hooks(True)
    return hooks is not None and "checkpoint" in getattr(hooks[0], "__module__", "")


def _name(function: Callable[..., Any]) -> str:
    name = getattr(function, "__name__", "")
    if name == "__get__":  # of an attribute, such as `data`
        name = getattr(getattr(function, "__self__", None), "__name__", "")
    return name.strip("_")


def _works_in_place(function: Callable[..., Any]) -> bool:
    return function.__name__.endswith("_") and not function.__name__.endswith("__")


def _hidden(nodes: list[Any]) -> Iterator[str]:
    for node in nodes:
        name = node.name()
        if name in OPAQUE_REGIONS:
            yield f"what is inside a {name} node"
        elif isinstance(node, torch.autograd.function.BackwardCFunction) and name not in _SMOOTH:
            yield f"the kinks, if any, of the autograd function {name.removesuffix('Backward')}"


def _uncounted(nodes: list[Any], seen: Counter[str]) -> Iterator[str]:
    kinked = Counter(_kind(node) for node in nodes if not _is_guard(node))
    for kind, count in kinked.items():
        if kind in _UNKNOWN:
            yield f"{count} {kind}"
        elif kind in _SEEN_AS and (missing := count - sum(seen[name] for name in _SEEN_AS[kind])) > 0:
            yield f"{missing} {kind} that torch's function mode does not see"


def _kind(node: Any) -> str:
    """Name of a node without its number; of a norm, the kind of its kinks."""
    name: str = node.name()
    if name.startswith(("LinalgVectorNorm", "Norm")):
        order = getattr(node, "_saved_ord", getattr(node, "_saved_p", 2))
        return {1: "Abs", math.inf: "Max", -math.inf: "Min"}.get(order, "Norm")
    return name.rstrip("0123456789").removesuffix("Backward")


def _is_guard(node: Any) -> bool:
    low = getattr(node, "_saved_min", None)
    return _kind(node) in ("Clamp", "ClampMin") and isinstance(low, (int, float)) and 0 < low <= _GUARD
