"""What a target knows of each image, for some of the images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

_Item = TypeVar("_Item")


def changed_classes(class_idx: int | Tensor | None, change: Callable[[Tensor], Tensor]) -> int | Tensor | None:
    """Classes of other images (see `Target.changed`); one class for all images stays, and so does `None`."""
    return change(class_idx) if isinstance(class_idx, Tensor) and class_idx.dim() > 0 else class_idx


def changed_items(items: Sequence[_Item], change: Callable[[Tensor], Tensor]) -> list[_Item]:
    """The items of other images (see `Target.changed`), one item for each image.

    Example:
        >>> changed_items(["a", "b"], lambda rows: rows.repeat_interleave(2))
        ['a', 'a', 'b', 'b']
    """
    return [items[place] for place in change(torch.arange(len(items))).tolist()]


def classes_of(class_idx: int | Tensor | None, scores: Tensor) -> Tensor:
    """Classes as (N,) integers on the device of the scores, (N, K); the largest score of each image for `None`.

    Raises:
        ValueError: If they are not one integer for each image, or a class is not one of the K.
    """
    found = scores.detach().argmax(dim=1) if class_idx is None else torch.as_tensor(class_idx, device=scores.device)
    if found.is_floating_point() or found.dtype == torch.bool:
        raise ValueError(f"`class_idx`: expected integers, got {found.dtype}")
    found = found.expand(len(scores)) if found.dim() == 0 else found
    if found.shape != (len(scores),):
        raise ValueError(f"`class_idx`: expected one class, or one for each of {len(scores)} images, got {class_idx!r}")
    outside = found[(found < 0) | (found >= scores.shape[1])]
    if len(outside):
        raise ValueError(f"`class_idx`: expected classes from 0 to {scores.shape[1] - 1}, got {int(outside[0])}")
    return found.long()
