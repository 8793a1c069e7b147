"""Paths from one image to another, on which pixels change in the order of a map: insertion and deletion."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from camtrain.evaluation.need import ProbabilityNeed
from camtrain.messages import positive_integer


def removal_ranks(cams: Tensor) -> Tensor:
    """The place of each pixel in the order from the most to the least relevant.

    Pixels with equal values, such as the zeros behind a ReLU, are ordered row by row. (RISE leaves their order to the
    sorting algorithm.)

    Args:
        cams: (N, H, W) maps.

    Returns:
        (N, H, W) integers from 0, the most relevant pixel, to H·W - 1.

    Raises:
        ValueError: If the maps are not (N, H, W), or contain NaN, which has no place in an order.

    Example:
        >>> removal_ranks(torch.tensor([[[0.1, 0.9], [0.5, 0.1]]]))
        tensor([[[2, 0],
                 [1, 3]]])
    """
    if cams.dim() != 3:
        raise ValueError(f"`cams`: expected (N, H, W), got {tuple(cams.shape)}")
    if bool(cams.isnan().any()):
        raise ValueError("`cams`: expected numbers, got NaN, which has no place in an order")
    order = cams.flatten(1).argsort(dim=1, descending=True, stable=True)
    places = torch.arange(order.shape[1], device=order.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places).view_as(cams)


def path_images(start: Tensor, end: Tensor, ranks: Tensor, num_steps: int, *, ends: bool = True) -> Iterator[Tensor]:
    """Images on the path from `start` to `end`. Each step changes the same number of pixels, the most relevant first.

    After step k of T, round(k·H·W / T) pixels are those of `end`. The path from a blurred image to the image is RISE's
    insertion; the path from the image to zeros is its deletion.

    Args:
        start: (N, C, H, W) first images of the paths.
        end: (N, C, H, W) last images of the paths.
        ranks: (N, H, W) places of the pixels, from `removal_ranks`.
        num_steps: The number of steps, T.
        ends: Whether to yield `start` and `end` too. Several maps share them, so they need to be evaluated only once.

    Yields:
        (N, C, H, W) images, T + 1 times, or T - 1 times without the ends.

    Raises:
        ValueError: If `num_steps` is no positive integer, or the sizes differ; raised when the first image is drawn.

    Source:
        Petsiuk et al., RISE, BMVC 2018, arXiv 1806.07421, section 4.2. Departure: RISE changes W pixels in a step,
        which is `num_steps` = H here.

    Example:
        >>> start, end = torch.zeros(1, 3, 1, 4), torch.ones(1, 3, 1, 4)
        >>> ranks = removal_ranks(torch.tensor([[[0.1, 0.4, 0.3, 0.2]]]))
        >>> for image in path_images(start, end, ranks, num_steps=2):
        ...     print(image[0, 0, 0].tolist())
        [0.0, 0.0, 0.0, 0.0]
        [0.0, 1.0, 1.0, 0.0]
        [1.0, 1.0, 1.0, 1.0]
    """
    positive_integer("num_steps", num_steps)
    if end.shape != start.shape or ranks.shape != start.shape[:1] + start.shape[2:]:
        raise ValueError(
            f"`end`, `ranks`: expected the images and (N, H, W) of `start`, {tuple(start.shape)}, got "
            f"{tuple(end.shape)} and {tuple(ranks.shape)}"
        )
    pixels = ranks.shape[1:].numel()
    for step in range(num_steps + 1) if ends else range(1, num_steps):
        changed = round(step * pixels / num_steps)
        yield torch.where((ranks < changed).unsqueeze(1), end, start)


INSERTION_CURVE = ProbabilityNeed(
    name="insertion_curve",
    shared=lambda batch: [batch.substrate(batch.settings.insertion_start)],
    variants=lambda batch, measured: path_images(
        batch.substrate(batch.settings.insertion_start),
        batch.images,
        measured.ranks,
        batch.settings.num_steps,
        ends=False,
    ),
    assembled=lambda measured, shared, own: torch.stack([*shared, *own, measured.batch.scores], dim=1),
)
"""(N, T + 1) probabilities of the explained class along the path of insertion."""

DELETION_CURVE = ProbabilityNeed(
    name="deletion_curve",
    shared=lambda batch: [batch.substrate(batch.settings.deletion_end)],
    variants=lambda batch, measured: path_images(
        batch.images,
        batch.substrate(batch.settings.deletion_end),
        measured.ranks,
        batch.settings.num_steps,
        ends=False,
    ),
    assembled=lambda measured, shared, own: torch.stack([measured.batch.scores, *own, *shared], dim=1),
)
"""(N, T + 1) probabilities of the explained class along the path of deletion."""
