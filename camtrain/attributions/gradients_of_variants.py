"""Gradients at many variants of each image, with bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import torch
from torch import Tensor

from camtrain.gradients import ClassIndex, selected_class


def gradients_of_variants(
    gradient: Callable[[Tensor, ClassIndex], Tensor],
    variants: Iterable[Tensor],
    class_idx: ClassIndex,
    max_batch: int,
) -> Iterator[Tensor]:
    """Take gradients at variants of a batch, with several variants in one pass.

    Args:
        gradient: The function from images (M, C, H, W) and M classes to gradients (M, C, H, W).
        variants: The variants of the batch, each (N, C, H, W). They are drawn one by one, only when they are needed.
        class_idx: The classes of the N images, without `None`.
        max_batch: The largest number of images in one pass.

    Yields:
        The gradients at the next s variants, (s, N, C, H, W), in the order of the variants.

    Example:
        >>> def square(images, class_idx):
        ...     return 2 * images
        >>> batch = torch.ones(2, 3, 1, 1)
        >>> [tuple(g.shape) for g in gradients_of_variants(square, [batch] * 5, 0, max_batch=4)]
        [(2, 2, 3, 1, 1), (2, 2, 3, 1, 1), (1, 2, 3, 1, 1)]
    """
    remaining = iter(variants)
    first = next(remaining, None)
    while first is not None:
        images = len(first)
        group = [first, *islice(remaining, max(max_batch // max(images, 1), 1) - 1)]
        classes = selected_class(class_idx, torch.arange(images).repeat(len(group)))
        flat = torch.cat(group)
        pieces = [
            gradient(flat[start : start + max_batch], selected_class(classes, slice(start, start + max_batch)))
            for start in range(0, max(len(flat), 1), max_batch)
        ]
        gradients = torch.cat(pieces)
        yield gradients.reshape(len(group), images, *gradients.shape[1:])
        first = next(remaining, None)
