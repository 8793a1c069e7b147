"""Checks of a metric's arguments: what was expected, and what came instead."""

from __future__ import annotations

from collections.abc import Sized
from typing import Literal

import torch
from torch import Tensor

Kind = Literal["floating-point", "integer", "bool"]

_ARTICLES: dict[Kind, str] = {"floating-point": "a", "integer": "an", "bool": "a"}
_ROUNDING = 1e-6  # a normalized map that is resized afterwards leaves [0, 1] by the rounding of the interpolation


def checked_tensor(name: str, value: object, dims: str, kind: Kind = "floating-point") -> Tensor:
    """The argument as a plain tensor, if it has the right kind and shape.

    Args:
        name: The name of the argument, for the message.
        value: The argument.
        dims: The expected shape, as "N, H, W" or "N, 5". A letter stands for any length, a number for itself.
        kind: The kind of numbers that the tensor must hold.

    Raises:
        TypeError: If the argument is no tensor.
        ValueError: If the tensor has another kind or shape.

    Example:
        >>> checked_tensor("cams", torch.zeros(2, 4, 4), "N, H, W").shape
        torch.Size([2, 4, 4])
        >>> checked_tensor("cams", torch.zeros(4, 4), "N, H, W")
        Traceback (most recent call last):
        ValueError: `cams`: expected a floating-point tensor of shape (N, H, W), got torch.float32 of shape (4, 4)
    """
    names = dims.split(", ")
    expected = f"`{name}`: expected {_ARTICLES[kind]} {kind} tensor of shape ({dims}{',' if len(names) == 1 else ''})"
    if not isinstance(value, Tensor):
        remedy = "; convert it with torch.from_numpy" if type(value).__name__ == "ndarray" else ""
        raise TypeError(f"{expected}, got {type(value).__name__}{remedy}")
    fits = value.dim() == len(names) and all(
        not dim.isdigit() or int(dim) == length for dim, length in zip(names, value.shape, strict=True)
    )
    if _kind(value.dtype) != kind or not fits:
        raise ValueError(f"{expected}, got {value.dtype} of shape {tuple(value.shape)}")
    return value.as_subclass(Tensor)


def check_length(name: str, value: Sized, of: str, other: Sized) -> None:
    """Check that two arguments describe the same number of images.

    Args:
        name: The name of the argument.
        value: The argument.
        of: The name of the argument that it must agree with.
        other: That argument.

    Raises:
        ValueError: If the lengths differ.
    """
    if len(value) != len(other):
        raise ValueError(f"`{name}`: expected {len(other)} images, as `{of}` has, got {len(value)}")


def check_shape(name: str, value: Tensor, of: str, other: Tensor) -> None:
    """Check that two tensors have the same shape; the arguments are those of `check_length`.

    Raises:
        ValueError: If the shapes differ.
    """
    if value.shape != other.shape:
        raise ValueError(f"`{name}`: expected the shape of `{of}`, {tuple(other.shape)}, got {tuple(value.shape)}")


def check_values(name: str, values: Tensor, low: float, high: float, expected: str, remedy: str) -> None:
    """Check that all values are in [low, high].

    Args:
        name: The name of the argument, for the message.
        values: The argument.
        low: The smallest allowed value.
        high: The largest allowed value.
        expected: The allowed values in words, for the message.
        remedy: What to do about values outside, the end of the message.

    Raises:
        ValueError: If a value is NaN or outside [low, high].
    """
    if values.numel() == 0:
        return
    smallest, largest = torch.stack(torch.aminmax(values)).tolist()
    if smallest != smallest:
        raise ValueError(f"`{name}`: expected {expected}, got NaN")
    if smallest < low or largest > high:
        raise ValueError(f"`{name}`: expected {expected}, got {smallest:g} to {largest:g}; {remedy}")


def check_finite(name: str, values: Tensor) -> None:
    """Check that all values are finite.

    Raises:
        ValueError: If a value is NaN or infinite.
    """
    if not bool(values.isfinite().all()):
        raise ValueError(f"`{name}`: expected finite values, got NaN or infinity")


def checked_unit_maps(name: str, cams: object) -> Tensor:
    """Maps (N, H, W) in [0, 1]; a deviation of 1e-6 is taken for rounding.

    Raises:
        TypeError: If the argument is no tensor.
        ValueError: If the shape or the kind is wrong, or a value is NaN or outside [0, 1].

    Example:
        >>> checked_unit_maps("cams", torch.full((1, 2, 2), 3.0))
        Traceback (most recent call last):
        ValueError: `cams`: expected values in [0, 1], got 3 to 3; normalize the maps first (camtrain.cams.normalize)
    """
    maps = checked_tensor(name, cams, "N, H, W")
    remedy = "normalize the maps first (camtrain.cams.normalize)"
    check_values(name, maps, -_ROUNDING, 1 + _ROUNDING, "values in [0, 1]", remedy)
    return maps


def _kind(dtype: torch.dtype) -> str:
    if dtype.is_floating_point:
        return "floating-point"
    return "bool" if dtype == torch.bool else "complex" if dtype.is_complex else "integer"
