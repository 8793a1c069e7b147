"""The functions of torch that have kinks, and how each is computed with its kinks held.

A ReLU, a hard activation or a max pooling is linear, or smooth, on each side of its kinks. Such a function is a *gate*.
`Gate.record` computes it as usual and notes for each element on which side of the kinks it is; `Gate.replay` computes
the piece that belongs to the noted side, whatever the new input is. `GATES` lists the gates by the name of their
function; `recorded_gates` records and replays those of a whole forward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from camtrain.gradients.gate import Gate, Memory
from camtrain.gradients.pointwise_gate import ClampGate, PointwiseGate


def _per_channel(weight: Tensor, x: Tensor) -> Tensor:
    """The slopes of a PReLU in a shape that broadcasts against (N, C, ...)."""
    return weight if weight.numel() == 1 else weight.view(-1, *[1] * (x.dim() - 2))


class MaxPool(Gate):
    """A max pooling; its sides are the indices of the maxima."""

    def __init__(
        self, with_indices: Callable[..., tuple[Tensor, Tensor]], spatial: int, adaptive: bool, gives_both: bool
    ) -> None:
        self.with_indices, self.spatial, self.gives_both = with_indices, spatial, gives_both
        window = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
        self.parameters = ("output_size",) if adaptive else window

    def record(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Any) -> tuple[Any, Memory]:
        """Record the indices, which the pooling finds anyway."""
        x, arguments = self.arguments(args, kwargs)
        both = arguments.pop("return_indices", False) or self.gives_both
        y, indices = self.with_indices(x, **arguments)
        return ((y, indices) if both else y), (indices,)

    def replay(self, memory: Memory, args: tuple[Any, ...], kwargs: Any, *, in_place: bool) -> Any:
        """Take the pixels at the recorded indices."""
        x, arguments = self.arguments(args, kwargs)
        (indices,) = memory
        y = x.flatten(-self.spatial).gather(-1, indices.flatten(-self.spatial)).view_as(indices)
        return (y, indices) if arguments.get("return_indices", False) or self.gives_both else y


class StepFunction(Gate):
    """A function that is constant between its kinks, such as a comparison.

    It makes `where(x > 0, ...)` and `x * (x > 0)` gates. `detach` is one too: the network gives its values no gradient.
    """

    def record(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Any) -> tuple[Any, Memory]:
        """Record a copy of the values, which later work in place does not change."""
        output = function(*args, **kwargs)
        return output, ((output.detach().clone(),) if isinstance(output, Tensor) else ())

    def replay(self, memory: Memory, args: tuple[Any, ...], kwargs: Any, *, in_place: bool) -> Any:
        """Return the recorded values."""
        if not memory:
            return NotImplemented
        return args[0].copy_(memory[0]) if in_place else memory[0].clone()


class Choice(Gate):
    """A function that chooses elements, such as `max` or `topk`: the recorded values and indices are returned.

    That is right where the network uses the indices. Where it uses the *values*, which have a gradient,
    `RecordedGates.check` finds their node and reports that it cannot be held.
    """

    def __init__(self, name: str) -> None:
        self.returned = getattr(torch.return_types, name)

    def record(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Any) -> tuple[Any, Memory]:
        """Record values and indices; `max` and the like have only values if no dimension is given."""
        output = function(*args, **kwargs)
        found = output if isinstance(output, tuple) else (output,)
        return output, tuple(each.detach().clone() for each in found)

    def replay(self, memory: Memory, args: tuple[Any, ...], kwargs: Any, *, in_place: bool) -> Any:
        """Return the recorded values and indices."""
        return memory[0].clone() if len(memory) == 1 else self.returned([each.clone() for each in memory])


_HARDTANH = ClampGate(
    lambda a: (a["min_val"], a["max_val"]),
    parameters=("min_val", "max_val", "inplace"),
    defaults={"min_val": -1.0, "max_val": 1.0},
)
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805
# Torch's derivative at zero is zero, which is why the piece between the two kinks at zero is a constant.
_ABS = PointwiseGate(
    lambda _: (0.0, 0.0), below=lambda x, _: -x, between=lambda x, _: torch.zeros_like(x), open_at_kinks=True
)
_CLAMP = ClampGate(lambda a: (a["min"], a["max"]), parameters=("min", "max"), defaults={"min": None, "max": None})
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
    "relu": ClampGate(lambda _: (0.0, None), parameters=("inplace",)),
    "relu6": ClampGate(lambda _: (0.0, 6.0), parameters=("inplace",)),
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
        # A product saves its factors for the backward pass, and work in place would overwrite x. Hence the clone.
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
    "clamp_min": ClampGate(lambda a: (a["min"], None), parameters=("min",)),
    "clamp_max": ClampGate(lambda a: (None, a["max"]), parameters=("max",)),
    **_MAX_POOLS,
    **{name: StepFunction() for name in _STEP_FUNCTIONS},
    **{name: Choice(name) for name in _CHOICES},
}
"""The gates by the name of their torch function, without the underscores of its in-place or operator form."""
