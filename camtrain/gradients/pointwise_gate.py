"""Gates that act on each element by itself, such as ReLU.

One byte is remembered of each element: 0 if it is below the low kink, 1 between the kinks, 2 above the high one. The
bytes are read and written by operations that torch's CPU kernels vectorize. `where` and `masked_fill` are not among
them: they take five times as long.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from camtrain.gradients.gate import Gate, Memory

Kink = float | Tensor | None


class PointwiseGate(Gate):
    """A pointwise function of up to three pieces: below its low kink, between its kinks, and above its high kink.

    Args:
        kinks: From the arguments to the kinks (low, high); `None` for a kink that the function does not have.
        below: The function where the input is at or below the low kink.
        above: The function where the input is at or above the high kink.
        between: The function between the kinks; `None` is the input itself.
        parameters: Names of the function's arguments after the input, in order.
        defaults: Values of the arguments that a caller may leave out.
        open_at_kinks: Whether torch's derivative at a kink is that of the piece between.
    """

    def __init__(
        self,
        kinks: Callable[[Mapping[str, Any]], tuple[Kink, Kink]],
        below: Callable[[Tensor, Mapping[str, Any]], Tensor | float],
        above: Callable[[Tensor, Mapping[str, Any]], Tensor | float] = lambda x, _: x,
        between: Callable[[Tensor, Mapping[str, Any]], Tensor] | None = None,
        parameters: tuple[str, ...] = (),
        defaults: Mapping[str, Any] | None = None,
        open_at_kinks: bool = False,
    ) -> None:
        self.kinks, self.below, self.between, self.above = kinks, below, between, above
        self.parameters, self.defaults = parameters, defaults or {}
        self.open_at_kinks = open_at_kinks

    def record(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Any) -> tuple[Any, Memory]:
        """Record the side of each element."""
        x, arguments = self.arguments(args, kwargs)
        low, high = self.kinks(arguments)
        if low is None and high is None:
            return function(*args, **kwargs), ()
        sides = self._sides(x.detach(), low, high)  # before the call, which may overwrite its input
        return function(*args, **kwargs), (sides,)

    def replay(self, memory: Memory, args: tuple[Any, ...], kwargs: Any, *, in_place: bool) -> Any:
        """Combine the pieces by the recorded sides."""
        x, arguments = self.arguments(args, kwargs)
        in_place = in_place or arguments.get("inplace", False)
        if memory:
            below, above = self._pieces(x, arguments)
            if not isinstance(below, Tensor) and not isinstance(above, Tensor) and x.is_floating_point():
                if self.between is None:
                    return _held(x, memory[0], below, above, in_place)
                y = _held(self.between(x, arguments), memory[0], below, above)
            else:
                y = x if self.between is None else self.between(x, arguments)
                y = y if below is None else _filled(y, _is(memory[0], 0), below)
                y = y if above is None else _filled(y, _is(memory[0], 2), above)
        else:
            y = x if self.between is None else self.between(x, arguments)
        # The caller may rely on work in place and read its input afterwards.
        return x.copy_(y) if in_place else y

    def _pieces(self, x: Tensor, arguments: Mapping[str, Any]) -> tuple[Tensor | float | None, Tensor | float | None]:
        """The pieces below and above; `None` where there is no kink."""
        low, high = self.kinks(arguments)
        below = None if low is None else self.below(x, arguments)
        return below, None if high is None else self.above(x, arguments)

    def _sides(self, x: Tensor, low: Kink, high: Kink) -> Tensor:
        not_below = None if low is None else (x >= low if self.open_at_kinks else x > low)
        above = None if high is None else (x > high if self.open_at_kinks else x >= high)
        if above is None:
            assert not_below is not None
            return not_below.view(torch.uint8)
        if not_below is None:
            return above.view(torch.uint8).add_(1)
        return not_below.view(torch.uint8).add_(above.view(torch.uint8))


class ClampGate(PointwiseGate):
    """A function that is its input between its kinks, and elsewhere the kink, such as ReLU.

    Its sides can be told by its output.

    Args:
        kinks: From the arguments to the kinks (low, high); `None` for a kink that the function does not have.
        parameters: Names of the function's arguments after the input, in order.
        defaults: Values of the arguments that a caller may leave out.
    """

    def __init__(
        self,
        kinks: Callable[[Mapping[str, Any]], tuple[Kink, Kink]],
        parameters: tuple[str, ...] = (),
        defaults: Mapping[str, Any] | None = None,
    ) -> None:
        def low(x: Tensor, arguments: Mapping[str, Any]) -> Any:
            return kinks(arguments)[0]

        def high(x: Tensor, arguments: Mapping[str, Any]) -> Any:
            return kinks(arguments)[1]

        super().__init__(kinks, below=low, above=high, parameters=parameters, defaults=defaults)

    def record(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Any) -> tuple[Any, Memory]:
        """Record the side of each element, from the output if it tells: not where both kinks are one."""
        x, arguments = self.arguments(args, kwargs)
        low, high = self.kinks(arguments)
        no_kink = low is None and high is None
        if no_kink or isinstance(low, Tensor) or isinstance(high, Tensor) or low == high or not x.is_floating_point():
            return super().record(function, args, kwargs)
        output = function(*args, **kwargs)
        return output, (_sides_of_clamped(output.detach(), low, high),)


def _sides_of_clamped(y: Tensor, low: float | None, high: float | None) -> Tensor:
    """The sides by the output of a clamp, which is at a kink wherever the input is beyond it."""
    if high is None:
        assert low is not None
        return _differs(y, low)
    not_above = _differs(y, high)
    if low is None:
        return not_above.neg_().add_(2)  # bytes wrap around
    return _differs(y, low).sub_(not_above).add_(1)


def _differs(y: Tensor, value: float) -> Tensor:
    """1 where y is not the value, else 0: conversion to bool is several times as fast as a comparison."""
    return (y if value == 0 else y - value).bool().view(torch.uint8)


def _is(sides: Tensor, side: int) -> Tensor:
    return (sides == side).view(torch.uint8)


def _filled(y: Tensor, mask: Tensor, value: Tensor | float) -> Tensor:
    """The value where the mask, uint8, is 1, and y elsewhere."""
    if isinstance(value, Tensor) and value.shape == y.shape and value.dtype == y.dtype and y.is_floating_point():
        return _kept(y, mask ^ 1) + _kept(value, mask)
    return torch.where(mask.bool(), value, y)


class _Kept(torch.autograd.Function):
    """A tensor where a mask, uint8, is 1, and 0 elsewhere, whatever the tensor is there; only the mask is saved."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, mask: Tensor) -> Tensor:
        ctx.save_for_backward(mask)
        return _where_open(y, mask)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return _where_open(gradient, ctx.saved_tensors[0]), None


def _kept(y: Tensor, mask: Tensor) -> Tensor:
    kept: Tensor = _Kept.apply(y, mask)
    return kept


class _Held(torch.autograd.Function):
    """A function that is constant below and above; it saves only the sides for its backward pass, no new tensor."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, sides: Tensor, below: float | None, above: float | None, in_place: bool) -> Tensor:
        ctx.has_above = above is not None
        ctx.save_for_backward(sides)
        if in_place:
            ctx.mark_dirty(y)
        held = _where_open(y, sides & 1 if ctx.has_above else sides, out=y if in_place else None)
        if below:
            held.add_(_is(sides, 0).to(y.dtype), alpha=below)
        if above:
            held.add_((sides >> 1).to(y.dtype), alpha=above)
        return held

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        (sides,) = ctx.saved_tensors
        return _where_open(gradient, sides & 1 if ctx.has_above else sides), None, None, None, None


def _held(y: Tensor, sides: Tensor, below: float | None, above: float | None, in_place: bool = False) -> Tensor:
    held: Tensor = _Held.apply(y, sides, below, above, in_place)
    return held


def _where_open(y: Tensor, mask: Tensor, out: Tensor | None = None) -> Tensor:
    """Y where the mask, uint8, is 1, else 0: the backward kernel of a ReLU whose output is the mask."""
    mask = mask.to(y.dtype)
    kernel = torch.ops.aten.threshold_backward
    kept: Tensor = kernel(y, mask, 0) if out is None else kernel.grad_input(y, mask, 0, grad_input=out)
    return kept
