"""Wrong values of every kind of argument, each with the reason why it is wrong.

A *domain* yields the wrong values of one argument. What can be drawn (how negative, which letters of a name are
exchanged) is drawn from the generator that it is given.
"""

from __future__ import annotations

import math
import random
import string
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Wrong:
    """A wrong value.

    Attributes:
        shown: How it is written in the name of a case.
        make: Makes it.
        why: Why it is wrong.
        in_words: False if it cannot be typed on a command line.
    """

    shown: str
    make: Callable[[], Any]
    why: str
    in_words: bool = True


Domain = Callable[[random.Random], Iterator[Wrong]]


def wrong(value: Any, why: str, *, in_words: bool = True) -> Wrong:
    """A wrong value that needs no making."""
    return Wrong(repr(value) if not isinstance(value, str) else f"'{value}'", lambda: value, why, in_words)


def near_miss(name: str, draw: random.Random) -> str:
    """Mistype a name: two neighbors exchanged, a letter lost, or a letter doubled.

    Example:
        >>> near_miss("cosine", random.Random(0)) != "cosine"
        True
    """
    for _ in range(100):
        place = draw.randrange(max(1, len(name) - 1))
        typed = draw.choice(
            [
                name[:place] + name[place + 1 : place + 2] + name[place : place + 1] + name[place + 2 :],
                name[:place] + name[place + 1 :],
                name[:place] + name[place : place + 1] * 2 + name[place + 1 :],
            ]
        )
        if typed not in (name, ""):
            return typed
    return f"{name}_"


def integers(least: int = 1, *, none: bool = False, most: int | None = None) -> Domain:
    """What is no integer of at least `least`."""

    def found(draw: random.Random) -> Iterator[Wrong]:
        yield wrong(least - 1, f"below {least}")
        yield wrong(least - 2 - draw.randrange(1000), f"below {least}")
        yield wrong(least + draw.randrange(3) + 0.5, "not an integer")
        yield wrong(math.nan, "not a number")
        yield wrong("".join(draw.choices(string.ascii_lowercase, k=4)), "text")
        yield wrong("", "empty")
        yield wrong(math.inf, "infinite")
        yield wrong([least], "a list of one", in_words=False)
        if most is not None:
            yield wrong(most + 1 + draw.randrange(100), f"above {most}")
        if not none:
            yield wrong(None, "nothing", in_words=False)

    return found


def numbers(
    low: float = -math.inf,
    high: float = math.inf,
    *,
    low_is_in: bool = True,
    high_is_in: bool = True,
    none: bool = False,
) -> Domain:
    """What is no finite number in a range."""

    def found(draw: random.Random) -> Iterator[Wrong]:
        if math.isfinite(low):
            yield wrong(round(low - 10 ** draw.uniform(-3, 3), 4), f"below {low:g}")
            if not low_is_in:
                yield wrong(low, f"not above {low:g}")
        if math.isfinite(high):
            yield wrong(round(high + 10 ** draw.uniform(-2, 3), 4), f"above {high:g}")
            if not high_is_in:
                yield wrong(high, f"not below {high:g}")
        yield wrong(math.nan, "not a number")
        yield wrong(math.inf, "infinite")
        yield wrong("".join(draw.choices(string.ascii_lowercase, k=4)), "text")
        yield wrong("", "empty")
        yield wrong([0.5], "a list of one", in_words=False)
        if not none:
            yield wrong(None, "nothing", in_words=False)

    return found


def one_of(names: Sequence[str], *, none: bool = False, empty_is_none: bool = False) -> Domain:
    """What is none of some names."""

    def found(draw: random.Random) -> Iterator[Wrong]:
        for _ in range(2):
            typed = near_miss(draw.choice(names), draw)
            while typed in names:
                typed = near_miss(draw.choice(names), draw)
            yield wrong(typed, "a mistyped name")
        yield wrong(f"no_{draw.choice(names)}", "an unknown name")
        yield wrong(7, "a number")
        yield wrong([names[0], names[0]], "a list", in_words=False)
        if not empty_is_none:
            yield wrong("", "empty")
        if not none:
            yield wrong(None, "nothing", in_words=False)

    return found


def several_of(names: Sequence[str]) -> Domain:
    """What is no list of some names, separated by commas or as a list."""

    def found(draw: random.Random) -> Iterator[Wrong]:
        known = draw.choice(names)
        typed = near_miss(draw.choice(names), draw)
        while typed in names:
            typed = near_miss(draw.choice(names), draw)
        yield wrong(typed, "a mistyped name")
        yield wrong(f"{known},{typed}", "one of two names is mistyped")
        yield wrong("", "empty")
        yield wrong(f"{known},,{known}", "an empty name between commas")
        yield wrong([], "no name", in_words=False)
        yield wrong([known, 3], "a number among names", in_words=False)
        yield wrong(3.5, "a number")

    return found


def classes(names: Sequence[str], others: Sequence[str] = ("torch.nn.ReLU", "collections.OrderedDict")) -> Domain:
    """What names no class of a kind."""

    def found(draw: random.Random) -> Iterator[Wrong]:
        yield wrong(near_miss(draw.choice(names), draw), "a mistyped class")
        yield wrong("no.such.module.Class", "a module that is not there")
        yield wrong("torch.nn.NoSuchClass", "a class that is not there")
        for other in others:
            yield wrong(other, "a class of another kind")
        yield wrong("3", "a number")

    return found


def given(*values: tuple[Any, str]) -> Domain:
    """Values that are listed, each with the reason why it is wrong."""

    def found(_: random.Random) -> Iterator[Wrong]:
        for value, why in values:
            yield wrong(value, why)

    return found


def objects(kind: str) -> Domain:
    """What is no object of some kind."""

    def found(_: random.Random) -> Iterator[Wrong]:
        yield Wrong("text", lambda: "text", f"text instead of {kind}", in_words=False)
        yield Wrong("7", lambda: 7, f"a number instead of {kind}", in_words=False)
        yield Wrong("an object", object, f"an object instead of {kind}", in_words=False)
        yield Wrong("the class Linear", lambda: nn.Linear, f"a class instead of {kind}", in_words=False)

    return found


def tensors(
    shape: Sequence[int],
    *,
    floating: bool = True,
    low: float | None = None,
    high: float | None = None,
    finite: bool = True,
    fixed: Sequence[int] = (),
) -> Domain:
    """What is no tensor of a shape and range.

    Args:
        shape: The right shape.
        floating: True if its values are floating point.
        low: The smallest value.
        high: The largest value.
        finite: True if NaN and infinity are wrong.
        fixed: The dimensions whose size is given by something else.
    """

    def right() -> Tensor:
        return torch.rand(*shape) if floating else torch.zeros(*shape, dtype=torch.long)

    def filled(value: float) -> Callable[[], Tensor]:
        def make() -> Tensor:
            made = right()
            made.view(-1)[0] = value
            return made

        return make

    def resized(dimension: int, size: int) -> Callable[[], Tensor]:
        sizes = [size if index == dimension else each for index, each in enumerate(shape)]
        return lambda: torch.rand(*sizes) if floating else torch.zeros(*sizes, dtype=torch.long)

    def found(draw: random.Random) -> Iterator[Wrong]:
        yield Wrong("one dimension less", lambda: right()[0], "a dimension is missing", in_words=False)
        yield Wrong("one dimension more", lambda: right()[None], "a dimension too many", in_words=False)
        yield Wrong("text", lambda: "text", "text instead of a tensor", in_words=False)
        yield Wrong("None", lambda: None, "nothing instead of a tensor", in_words=False)
        yield Wrong("nested lists", lambda: right().tolist(), "lists instead of a tensor", in_words=False)
        yield Wrong("complex", lambda: right().to(torch.complex64), "complex values", in_words=False)
        for dimension in fixed:
            size = draw.choice([size for size in range(1, shape[dimension] + 3) if size != shape[dimension]])
            why = f"dimension {dimension} has the size {size}, not {shape[dimension]}"
            yield Wrong(f"{size} in dimension {dimension}", resized(dimension, size), why, in_words=False)
        if floating and finite:
            yield Wrong("a NaN in it", filled(math.nan), "NaN", in_words=False)
            yield Wrong("an infinity in it", filled(math.inf), "infinity", in_words=False)
        if low is not None:
            value = low - 1 - draw.randrange(5)
            yield Wrong(f"{value:g} in it", filled(value), f"below {low:g}", in_words=False)
        if high is not None:
            value = high + 1 + draw.randrange(5)
            yield Wrong(f"{value:g} in it", filled(value), f"above {high:g}", in_words=False)

    return found
