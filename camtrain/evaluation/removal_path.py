"""Images on the way from one to another, pixel by pixel in the order of a map."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from camtrain.positive_integer import positive_integer


def removal_ranks(cams: Tensor) -> Tensor:
    """The place of each pixel in the order from the most to the least relevant.

    Pixels that a map holds equal, such as the zeros that a ReLU leaves, follow each other row by row. (RISE leaves
    their order to the sorting algorithm.)

    Args:
        cams: (N, H, W).

    Returns:
        (N, H, W) integers from 0, the most relevant pixel, to H·W - 1.

    Raises:
        ValueError: if the maps are not (N, H, W), or hold NaN, which has no place in an order.

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
    """Images on the way from `start` to `end`, on which every step changes as many pixels, the most relevant first.

    After step k of T, round(k·H·W / T) pixels are those of `end`. From a blurred image to the image it is RISE's
    insertion, from the image to zeros its deletion.

    Args:
        start: (N, 3, H, W).
        end: (N, 3, H, W).
        ranks: (N, H, W), of `removal_ranks`.
        num_steps: T.
        ends: whether `start` and `end` are among them; where many maps share them, they need be looked at once only.

    Yields:
        (N, 3, H, W), T + 1 times, or T - 1 without the ends.

    Raises:
        ValueError: if `num_steps` is no positive integer, or the sizes differ; when the first image is drawn.

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
