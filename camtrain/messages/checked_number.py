"""Checks of the numbers that are the settings of classes and functions."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Real

_SMALLEST_SEED, _LARGEST_SEED = -(2**63), 2**64 - 1  # those that torch takes


def checked_number(
    name: str,
    value: object,
    expected: str | None = None,
    *,
    at_least: float = -math.inf,
    above: float = -math.inf,
    at_most: float = math.inf,
    below: float = math.inf,
    finite: bool = True,
) -> float:
    """The number itself, if it is one and within its bounds.

    A NumPy number, and a tensor or an array of no dimension, are returned as a number of Python. A bool is no number.

    Args:
        name: The name of the argument, for the message.
        value: The argument.
        expected: What is expected in words, for the message; `None` says it by the bounds.
        at_least: The smallest number allowed.
        above: A number that it must be larger than.
        at_most: The largest number allowed.
        below: A number that it must be smaller than.
        finite: Whether infinity is refused.

    Raises:
        TypeError: If it is no number.
        ValueError: If it is NaN or out of its bounds.

    Example:
        >>> checked_number("temperature", 0.5, above=0)
        0.5
        >>> checked_number("temperature", -1, above=0)
        Traceback (most recent call last):
        ValueError: `temperature`: expected a positive, finite number, got -1
        >>> checked_number("temperature", "warm", above=0)
        Traceback (most recent call last):
        TypeError: `temperature`: expected a positive, finite number, got 'warm'
    """
    if expected is None:
        expected = _bounds_in_words(at_least, above, at_most, below, finite)
    number = _python_number(value)
    if number is None:
        raise TypeError(f"`{name}`: expected {expected}, got {_shown(value)}")
    # A comparison with NaN is false.
    is_closed = at_least <= number <= at_most and above <= number <= below
    if not is_closed or number in _open_bounds(above, below) or (finite and _is_infinite(number)):
        raise ValueError(f"`{name}`: expected {expected}, got {number}")
    return number


def checked_fraction(name: str, value: object, *, zero: bool = True, one: bool = True) -> float:
    """The number itself, if it is a fraction.

    Args:
        name: The name of the argument, for the message.
        value: The argument.
        zero: Whether it may be 0.
        one: Whether it may be 1.

    Raises:
        TypeError: If it is no number.
        ValueError: If it is no fraction.

    Example:
        >>> checked_fraction("swapped", 2)
        Traceback (most recent call last):
        ValueError: `swapped`: expected a fraction in [0, 1], got 2
        >>> checked_fraction("share", 0.0, zero=False, one=False)
        Traceback (most recent call last):
        ValueError: `share`: expected a fraction between 0 and 1, got 0.0
    """
    expected = f"a fraction in {'[' if zero else '('}0, 1{']' if one else ')'}"
    if not zero and not one:
        expected = "a fraction between 0 and 1"
    return checked_number(
        name,
        value,
        expected,
        at_least=0,
        above=-math.inf if zero else 0,
        at_most=1,
        below=math.inf if one else 1,
    )


def checked_numbers(
    name: str,
    values: object,
    expected: str,
    count: int | None = None,
    *,
    at_least: float = -math.inf,
    above: float = -math.inf,
    below: float = math.inf,
) -> tuple[float, ...]:
    """The numbers of a sequence, if all are finite numbers and within their bounds; see `checked_number`.

    Args:
        name: The name of the argument, for the message.
        values: The argument.
        expected: What is expected in words, for the message.
        count: The number of numbers; `None` allows any.
        at_least: The smallest number allowed.
        above: A number that they must be larger than.
        below: A number that they must be smaller than.

    Raises:
        TypeError: If it is no sequence of numbers.
        ValueError: If there is another number of them, or one is NaN, infinite or out of its bounds.

    Example:
        >>> checked_numbers("mean", (0.5, 0.5), "three finite numbers", 3)
        Traceback (most recent call last):
        ValueError: `mean`: expected three finite numbers, got (0.5, 0.5)
    """
    message = f"`{name}`: expected {expected}, got {_shown(values)}"
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise TypeError(message)
    try:
        found = tuple(checked_number(name, each, at_least=at_least, above=above, below=below) for each in values)
    except (TypeError, ValueError) as error:
        raise type(error)(message) from None
    if count is not None and len(found) != count:
        raise ValueError(message)
    return found


def checked_integer(name: str, value: object, at_least: int | None = None, expected: str | None = None) -> int:
    """The integer itself, if it is one and large enough.

    A float is none, even one without a fraction.

    Args:
        name: The name of the argument, for the message.
        value: The argument.
        at_least: The smallest integer allowed; `None` allows all.
        expected: What is expected in words, for the message; `None` says it by `at_least`.

    Raises:
        TypeError: If it is no number.
        ValueError: If it is no integer, or too small.

    Example:
        >>> checked_integer("grid", 2.5, at_least=2)
        Traceback (most recent call last):
        ValueError: `grid`: expected an integer of at least 2, got 2.5
    """
    if expected is None:
        of_bound = "an integer" if at_least is None else f"an integer of at least {at_least}"
        expected = "a positive integer" if at_least == 1 else of_bound
    number = _python_number(value)
    if number is None:
        raise TypeError(f"`{name}`: expected {expected}, got {_shown(value)}")
    if not isinstance(number, int) or (at_least is not None and number < at_least):
        raise ValueError(f"`{name}`: expected {expected}, got {number}")
    return number


def positive_integer(name: str, value: object) -> int:
    """The integer itself, if it is positive; see `checked_integer`.

    Raises:
        TypeError: If it is no number.
        ValueError: If it is no integer, or less than 1.

    Example:
        >>> positive_integer("max_batch", 0)
        Traceback (most recent call last):
        ValueError: `max_batch`: expected a positive integer, got 0
    """
    return checked_integer(name, value, at_least=1)


def checked_seed(name: str, value: object) -> int:
    """The integer itself, if torch takes it as a seed.

    Raises:
        TypeError: If it is no number.
        ValueError: If it is no integer, or has more than 64 bits.

    Example:
        >>> checked_seed("seed", 2**70)
        Traceback (most recent call last):
        ValueError: `seed`: expected an integer of at most 64 bits, got 1180591620717411303424
    """
    seed = checked_integer(name, value)
    if not _SMALLEST_SEED <= seed <= _LARGEST_SEED:
        raise ValueError(f"`{name}`: expected an integer of at most 64 bits, got {seed}")
    return seed


def _python_number(value: object) -> float | None:
    """The value as a number of Python; `None` if it is no real number."""
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, bool) or not isinstance(value, Real) else value  # type: ignore[return-value]


def _open_bounds(above: float, below: float) -> list[float]:
    return [bound for bound in (above, below) if math.isfinite(bound)]


def _is_infinite(number: float) -> bool:
    try:
        return math.isinf(number)
    except OverflowError:  # an integer that no float can hold
        return True


def _bounds_in_words(at_least: float, above: float, at_most: float, below: float, finite: bool) -> str:
    low, high = max(at_least, above), min(at_most, below)
    has_low, has_high = math.isfinite(low), math.isfinite(high)
    if has_low and has_high:
        return f"a number in {'[' if at_least >= above else '('}{low:g}, {high:g}{']' if at_most <= below else ')'}"
    if has_high:
        return f"a number {'of at most' if at_most <= below else 'below'} {high:g}"
    if low == above == 0:
        return "a positive, finite number" if finite else "a positive number"
    kind = "a finite number" if finite else "a number"
    return f"{kind} {'of at least' if at_least >= above else 'above'} {low:g}" if has_low else kind


def _shown(value: object) -> str:
    """The value for a message, in one line; a tensor or an array by its kind."""
    if hasattr(value, "ndim") and hasattr(value, "shape"):
        return f"{type(value).__name__} of shape {tuple(value.shape)}"
    shown = repr(value)
    return shown if len(shown) <= 100 else f"{shown[:99]}…"
