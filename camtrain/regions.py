"""Where the objects are, as pixels: the one form in which metrics compare boxes and masks with a map."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Annotation = Sequence[Tensor] | Tensor
"""One (M_i, 4) tensor of boxes per image (xyxy pixels, half-open), or (N, H, W) bool masks."""


def regions(annotation: Annotation, size: tuple[int, int]) -> Tensor:
    """Pixels that belong to an object, from boxes or from masks.

    Args:
        annotation: boxes, one (M_i, 4) tensor per image, of which the union counts; or (N, H, W) bool masks.
        size: height and width of the images, in pixels.

    Returns:
        (N, H, W) bool; nowhere true for an image without annotation.

    Raises:
        ValueError: if masks are not bool or not of this size, or the boxes are bad (see `box_regions`).

    Example:
        >>> regions([torch.tensor([[0.0, 0.0, 2.0, 1.0]]), torch.zeros(0, 4)], (2, 3)).int()
        tensor([[[1, 1, 0],
                 [0, 0, 0]],
                [[0, 0, 0],
                 [0, 0, 0]]], dtype=torch.int32)
    """
    if not isinstance(annotation, Tensor):
        return box_regions(annotation, size)
    masks = annotation.as_subclass(Tensor)
    if masks.dtype != torch.bool:
        raise ValueError(f"`annotation`: expected masks of dtype bool, got {masks.dtype}")
    if masks.dim() != 3 or tuple(masks.shape[1:]) != tuple(size):
        raise ValueError(f"`annotation`: expected masks of shape (N, {size[0]}, {size[1]}), got {tuple(masks.shape)}")
    return masks


def box_regions(boxes: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """Pixels whose center lies in at least one box of their image.

    Pixel (row i, column j) has its center at (x, y) = (j + ½, i + ½) and is in the box where x0 ≤ x < x1 and
    y0 ≤ y < y1. Boxes with whole coordinates therefore hold exactly the pixels [x0, x1) × [y0, y1), fractional ones
    (after a resize) are neither shrunk nor grown on average, what lies outside the image is cut off, and a box too
    thin to hold the center of a pixel has no region.

    Args:
        boxes: one (M_i, 4) tensor per image: x0, y0, x1, y1 in pixels; M_i = 0 for an image without boxes.
        size: height and width of the images, in pixels.

    Returns:
        (N, H, W) bool, the union of each image's boxes.

    Raises:
        ValueError: if a tensor is not (M, 4), a coordinate is not finite, or a box has x1 < x0 or y1 < y0.

    Example:
        >>> box_regions([torch.tensor([[0.0, 0.0, 2.4, 1.0], [2.0, 1.0, 3.0, 2.0]])], (2, 3)).int()
        tensor([[[1, 1, 0],
                 [0, 0, 1]]], dtype=torch.int32)
    """
    height, width = size
    counts = [_box_count(index, of_image) for index, of_image in enumerate(boxes)]
    if sum(counts) == 0:
        return torch.zeros(len(counts), height, width, dtype=torch.bool, device=boxes[0].device if counts else None)
    edges = torch.cat([of_image.as_subclass(Tensor) for of_image in boxes])
    _check_edges(edges)
    x = torch.arange(width, device=edges.device) + 0.5
    y = torch.arange(height, device=edges.device) + 0.5
    x0, y0, x1, y1 = (edge.unsqueeze(1) for edge in edges.unbind(dim=1))
    columns = (x0 <= x) & (x < x1)
    rows = (y0 <= y) & (y < y1)
    union = torch.zeros(len(counts), height, width, dtype=torch.bool, device=edges.device)
    # One round for the first box of every image, one for the second, ...: few rounds, and no image twice in any.
    image_of_box = [image for image, count in enumerate(counts) for _ in range(count)]
    rank_of_box = [rank for count in counts for rank in range(count)]
    for round_ in range(max(counts)):
        chosen = [box for box, rank in enumerate(rank_of_box) if rank == round_]
        images = [image_of_box[box] for box in chosen]
        union[images] |= rows[chosen].unsqueeze(2) & columns[chosen].unsqueeze(1)
    return union


def _box_count(index: int, boxes: Tensor) -> int:
    if boxes.dim() != 2 or boxes.shape[1] != 4:
        raise ValueError(f"`boxes`: expected (M, 4) for each image, got {tuple(boxes.shape)} for image {index}")
    return len(boxes)


def _check_edges(edges: Tensor) -> None:
    ordered = (edges[:, 2:] >= edges[:, :2]).all(dim=1)
    good = ordered & torch.isfinite(edges).all(dim=1)
    if not bool(good.all()):
        bad = edges[~good][0].tolist()
        raise ValueError(f"`boxes`: expected finite x0 ≤ x1 and y0 ≤ y1 (xyxy), got {bad}")
