"""What every score of probabilities checks first."""

from __future__ import annotations

import torch
from torch import Tensor

# Softmax in float32 ends a little beyond 1, and in bfloat16 less little.
_ROUNDING = 1e-3


def checked_probabilities(name: str, values: Tensor, like: Tensor | None = None) -> Tensor:
    """Probabilities, at least float32 and clamped to [0, 1] against rounding.

    Args:
        name: of the argument, for the message.
        values: of any shape.
        like: whose first dimension they must have, if given.

    Raises:
        ValueError: if they are no numbers in [0, 1], or not of as many images.

    Example:
        >>> checked_probabilities("scores", torch.tensor([0.5, 1.0000001]))
        tensor([0.5000, 1.0000])
        >>> checked_probabilities("scores", torch.tensor([12.0]))
        Traceback (most recent call last):
        ValueError: `scores`: expected probabilities in [0, 1], got 12; of logits, take softmax(dim=1) first
    """
    if not values.is_floating_point():
        raise ValueError(f"`{name}`: expected floating-point probabilities, got {values.dtype}")
    if like is not None and values.shape[:1] != like.shape[:1]:
        raise ValueError(f"`{name}`: expected {len(like)} images, got {len(values)}")
    bad = values[~((values >= -_ROUNDING) & (values <= 1 + _ROUNDING))]
    if len(bad):
        raise ValueError(
            f"`{name}`: expected probabilities in [0, 1], got {float(bad[0]):g}; of logits, take softmax(dim=1) first"
        )
    return values.to(torch.promote_types(values.dtype, torch.float32)).clamp(0, 1)


def checked_pair(scores: Tensor, masked_scores: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities (N,) on images, and those on changed images, (N,) each.

    Raises:
        ValueError: if they are no probabilities, or not (N,) both.
    """
    if scores.dim() != 1 or masked_scores.shape != scores.shape:
        raise ValueError(
            f"`masked_scores`: expected one probability per image, (N,), like `scores`, got {tuple(scores.shape)} and "
            f"{tuple(masked_scores.shape)}"
        )
    return checked_probabilities("scores", scores), checked_probabilities("masked_scores", masked_scores)
