"""Where the objects of a batch are, as regularizers look at them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from camtrain.regions import box_regions, regions

AnnotationKind = Literal["any", "masks", "boxes"]
"""The annotation that a regularizer looks at. `"any"`: masks where an image has one, otherwise its boxes."""


def annotated_regions(
    boxes: Sequence[Tensor] | None, masks: Tensor | None, size: tuple[int, int], kind: AnnotationKind = "any"
) -> Tensor | None:
    """The pixels of the objects, from the boxes and masks of a batch.

    Args:
        boxes: One (M_i, 4) tensor for each image, xyxy pixels, half-open; several boxes count as their union.
        masks: (N, H, W) bool, true on the object.
        size: The height and width of the images, in pixels.
        kind: The annotation to look at: `masks`, `boxes`, or `any`: masks where an image has one, otherwise its boxes.

    Returns:
        (N, H, W) bool, false everywhere for an image without annotation. `None` if the batch has no annotation of that
        kind at all.

    Raises:
        ValueError: If boxes or masks are malformed, or of different numbers of images.

    Example:
        >>> boxes, masks = [torch.tensor([[0.0, 0.0, 1.0, 1.0]])] * 2, torch.tensor([[[False, True]], [[False, False]]])
        >>> annotated_regions(boxes, masks, (1, 2)).int()
        tensor([[[0, 1]],
        <BLANKLINE>
                [[1, 0]]], dtype=torch.int32)
    """
    of_masks = regions(masks, size) if masks is not None and kind != "boxes" else None
    of_boxes = box_regions(boxes, size) if boxes is not None and kind != "masks" else None
    if of_masks is None or of_boxes is None:
        return of_boxes if of_masks is None else of_masks
    if len(of_boxes) != len(of_masks):
        raise ValueError(f"`boxes`: expected one (M, 4) tensor for each of {len(of_masks)} masks, got {len(of_boxes)}")
    has_mask = of_masks.flatten(1).any(dim=1).view(-1, 1, 1)
    return of_masks.where(has_mask, of_boxes.to(of_masks.device))


def regions_like(
    maps: Tensor, boxes: Sequence[Tensor] | None, masks: Tensor | None, kind: AnnotationKind = "any"
) -> Tensor:
    """`annotated_regions` for maps or gradients, on their device; false everywhere if there is no annotation.

    Args:
        maps: (N, ..., H, W), at the size of the images.
        boxes: As for `annotated_regions`.
        masks: As for `annotated_regions`.
        kind: As for `annotated_regions`.

    Returns:
        (N, H, W) bool.

    Raises:
        ValueError: As `annotated_regions`, or if boxes or masks are of another number of images than the maps.

    Example:
        >>> regions_like(torch.zeros(1, 1, 2), [torch.tensor([[0.0, 0.0, 1.0, 1.0]])], None)
        tensor([[[ True, False]]])
    """
    size = (int(maps.shape[-2]), int(maps.shape[-1]))
    found = annotated_regions(boxes, masks, size, kind)
    if found is None:
        return torch.zeros(len(maps), *size, dtype=torch.bool, device=maps.device)
    if len(found) != len(maps):
        raise ValueError(f"`boxes` and `masks`: expected those of {len(maps)} images, got {len(found)}")
    return found.to(maps.device)


def check_annotation_kind(annotation: str) -> None:
    """Check the argument of that name.

    Raises:
        ValueError: If there is no such kind of annotation.
    """
    if annotation not in get_args(AnnotationKind):
        raise ValueError(f"`annotation`: expected any, masks or boxes, got {annotation!r}")
