"""Boxes and masks as pixels: the form in which metrics and regularizers compare them with a map."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Annotation = Sequence[Tensor] | Tensor
"""One (M_i, 4) tensor of boxes per image (xyxy pixels, half-open), or (N, H, W) bool masks."""

_SMALLEST_IMAGE = 16  # pixels of a side
_OUTSIDE = 1.0  # pixels by which a box may leave the image


def regions(annotation: Annotation, size: tuple[int, int]) -> Tensor:
    """The pixels that belong to an object, from boxes or from masks.

    Args:
        annotation: Boxes, one (M_i, 4) tensor per image, whose union counts; or (N, H, W) bool masks.
        size: The height and width of the images, in pixels.

    Returns:
        (N, H, W) bool; false everywhere for an image without annotation.

    Raises:
        TypeError: If the annotation is neither a tensor nor a list of tensors.
        ValueError: If masks are not bool or not of this size, or the boxes are bad (see `box_regions`).

    Example:
        >>> regions([torch.tensor([[0.0, 0.0, 2.0, 1.0]]), torch.zeros(0, 4)], (2, 3)).int()
        tensor([[[1, 1, 0],
                 [0, 0, 0]],
                [[0, 0, 0],
                 [0, 0, 0]]], dtype=torch.int32)
    """
    if not isinstance(annotation, Tensor):
        return _union(checked_boxes("annotation", annotation, size), size)
    masks = annotation.as_subclass(Tensor)
    if masks.dtype != torch.bool or masks.dim() != 3 or tuple(masks.shape[1:]) != tuple(size):
        raise ValueError(
            f"`annotation`: expected bool masks of shape (N, {size[0]}, {size[1]}), or a list with one (M, 4) tensor "
            f"of boxes per image, got {masks.dtype} of shape {tuple(masks.shape)}"
        )
    return masks


def box_regions(boxes: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """The pixels whose center lies in at least one box of their image.

    Pixel (row i, column j) has its center at (x, y) = (j + ½, i + ½). It is in the box if x0 ≤ x < x1 and y0 ≤ y < y1.
    A box with whole coordinates therefore holds exactly the pixels [x0, x1) × [y0, y1). A box with fractional
    coordinates, as after a resize, neither shrinks nor grows on average. A box too thin to hold a pixel's center has no
    pixels.

    A box may leave the image by up to one pixel, as boxes do that were rounded or that count pixels from 1; what lies
    outside is cut off. A box that leaves it further is in another coordinate system, or belongs to an image that was
    cropped afterwards, and is an error. (The data modules of `camtrain.data` clip boxes to the image.)

    Args:
        boxes: One (M_i, 4) tensor per image: x0, y0, x1, y1 in pixels; M_i = 0 for an image without boxes.
        size: The height and width of the images, in pixels.

    Returns:
        (N, H, W) bool, the union of each image's boxes.

    Raises:
        TypeError: If `boxes` is not a list of tensors.
        ValueError: If a tensor is not (M, 4), a coordinate is not finite, a box has x1 < x0 or y1 < y0, or leaves the
            image by more than one pixel, or boxes on an image are given as fractions of it.

    Example:
        >>> box_regions([torch.tensor([[0.0, 0.0, 2.4, 1.0], [2.0, 1.0, 3.0, 2.0]])], (2, 3)).int()
        tensor([[[1, 1, 0],
                 [0, 0, 1]]], dtype=torch.int32)
    """
    return _union(checked_boxes("boxes", boxes, size), size)


def checked_boxes(name: str, boxes: object, size: tuple[int, int]) -> list[Tensor]:
    """The boxes as plain tensors, if they are well-formed boxes of images of this size; see `box_regions`.

    Args:
        name: The name of the argument, for the message.
        boxes: The argument.
        size: The height and width of the images, in pixels.

    Raises:
        TypeError: See `box_regions`.
        ValueError: See `box_regions`.

    Example:
        >>> checked_boxes("boxes", [torch.tensor([[20.0, 30.0, 120.0, 180.0]])], (7, 7))
        Traceback (most recent call last):
        ValueError: `boxes`: expected boxes on images of width 7 and height 7, got [20.0, 30.0, 120.0, 180.0] for image
        0. If the boxes are in pixels of another size, resize the maps to that size (camtrain.cams.resize) or scale
        the boxes; if the image was cropped, clip the boxes to it.
    """
    expected = f"`{name}`: expected a list with one (M, 4) tensor of boxes per image"
    if not isinstance(boxes, Sequence) or isinstance(boxes, str):
        shape = f" of shape {tuple(boxes.shape)}" if isinstance(boxes, Tensor) else ""
        raise TypeError(f"{expected}, got {type(boxes).__name__}{shape}")
    for index, of_image in enumerate(boxes):
        if not isinstance(of_image, Tensor):
            raise TypeError(f"{expected}, got {type(of_image).__name__} for image {index}")
        if of_image.dim() != 2 or of_image.shape[1] != 4:
            raise ValueError(f"{expected}, got {tuple(of_image.shape)} for image {index}")
    plain = [of_image.as_subclass(Tensor) for of_image in boxes]
    if any(len(of_image) for of_image in plain):
        _check_edges(name, plain, size)
    return plain


def _check_edges(name: str, boxes: list[Tensor], size: tuple[int, int]) -> None:
    height, width = size
    edges = torch.cat(boxes)
    well_formed = (edges[:, 2:] >= edges[:, :2]).all(dim=1) & torch.isfinite(edges).all(dim=1)
    x0, y0, x1, y1 = edges.unbind(dim=1)
    inside = (x0 >= -_OUTSIDE) & (y0 >= -_OUTSIDE) & (x1 <= width + _OUTSIDE) & (y1 <= height + _OUTSIDE)
    # Of a real image, not every box lies in the first pixel; boxes may be scaled to a small map.
    is_image = min(size) >= _SMALLEST_IMAGE
    are_fractions = (edges <= 1).all() & ((edges[:, :2] > 0) & (edges[:, :2] < 1)).any() & is_image
    is_right, is_fraction = torch.stack([(well_formed & inside).all(), are_fractions]).tolist()
    if is_right and is_fraction:
        raise ValueError(
            f"`{name}`: expected boxes in pixels (xyxy), got {edges[0].tolist()} and no edge above 1, as of fractions "
            "of the image; multiply them by its width and height"
        )
    if is_right:
        return
    wrong = inside if bool(well_formed.all()) else well_formed
    first = int((~wrong).nonzero()[0])
    image = [index for index, of_image in enumerate(boxes) for _ in of_image][first]
    got = f"got {edges[first].tolist()} for image {image}"
    if wrong is well_formed:
        raise ValueError(f"`{name}`: expected finite x0 ≤ x1 and y0 ≤ y1 (xyxy), {got}")
    raise ValueError(
        f"`{name}`: expected boxes on images of width {width} and height {height}, {got}. If the boxes are in pixels "
        "of another size, resize the maps to that size (camtrain.cams.resize) or scale the boxes; if the image was "
        "cropped, clip the boxes to it."
    )


def _union(boxes: list[Tensor], size: tuple[int, int]) -> Tensor:
    """The union of the boxes of each image, (N, H, W) bool."""
    height, width = size
    counts = [len(of_image) for of_image in boxes]
    if sum(counts) == 0:
        return torch.zeros(len(counts), height, width, dtype=torch.bool, device=boxes[0].device if counts else None)
    edges = torch.cat(boxes)
    # Not in the default type, which is bfloat16 in a training with Lightning's `bf16-true`.
    x = torch.arange(width, device=edges.device, dtype=torch.float32) + 0.5
    y = torch.arange(height, device=edges.device, dtype=torch.float32) + 0.5
    x0, y0, x1, y1 = (edge.unsqueeze(1) for edge in edges.unbind(dim=1))
    columns = (x0 <= x) & (x < x1)
    rows = (y0 <= y) & (y < y1)
    union = torch.zeros(len(counts), height, width, dtype=torch.bool, device=edges.device)
    # The first round takes the first box of every image, the second round the second, and so on: there are few rounds,
    # and none has two boxes of one image.
    image_of_box = [image for image, count in enumerate(counts) for _ in range(count)]
    rank_of_box = [rank for count in counts for rank in range(count)]
    for round_ in range(max(counts)):
        chosen = [box for box, rank in enumerate(rank_of_box) if rank == round_]
        images = [image_of_box[box] for box in chosen]
        union[images] |= rows[chosen].unsqueeze(2) & columns[chosen].unsqueeze(1)
    return union
