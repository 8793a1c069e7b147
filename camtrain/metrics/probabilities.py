"""Checks that metrics of probabilities share."""

from __future__ import annotations

import torch
from torch import Tensor

from camtrain.metrics.checked import check_shape, checked_tensor

# Softmax exceeds 1 slightly in float32, and more in bfloat16.
_ROUNDING = 1e-3


def checked_probabilities(name: str, values: object, dims: str = "N") -> Tensor:
    """Probabilities in float32 or float64, clamped to [0, 1] against rounding.

    Args:
        name: The name of the argument, for the message.
        values: The argument.
        dims: The expected shape (see `checked_tensor`).

    Raises:
        TypeError: If the argument is no tensor.
        ValueError: If the shape or the kind is wrong, or a value is NaN or outside [0, 1] by more than 1e-3.

    Example:
        >>> checked_probabilities("probabilities", torch.tensor([0.5, 1.0000001]))
        tensor([0.5000, 1.0000])
        >>> checked_probabilities("probabilities", torch.tensor([12.0]))
        Traceback (most recent call last):
        ValueError: `probabilities`: expected probabilities in [0, 1], got 12; apply softmax(dim=1) to logits first
    """
    given = checked_tensor(name, values, dims)
    bad = given[~((given >= -_ROUNDING) & (given <= 1 + _ROUNDING))]
    if len(bad):
        raise ValueError(
            f"`{name}`: expected probabilities in [0, 1], got {float(bad[0]):g}; apply softmax(dim=1) to logits first"
        )
    return given.to(torch.promote_types(given.dtype, torch.float32)).clamp(0, 1)


def checked_pair(probabilities: object, masked_probabilities: object) -> tuple[Tensor, Tensor]:
    """The probabilities (N,) on images and on masked images.

    Raises:
        TypeError: If one of them is no tensor.
        ValueError: If they are not probabilities, not (N,), or have different lengths.
    """
    given = checked_probabilities("probabilities", probabilities)
    masked = checked_probabilities("masked_probabilities", masked_probabilities)
    check_shape("masked_probabilities", masked, "probabilities", given)
    return given, masked
