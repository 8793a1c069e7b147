"""Where a classifier may look, image by image."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from camtrain.regions import box_regions, regions

AnnotationKind = Literal["any", "masks", "boxes"]
"""`"any"`: the mask of an image that has one, its boxes otherwise."""


def annotated_regions(
    boxes: list[Tensor] | None, masks: Tensor | None, size: tuple[int, int], kind: AnnotationKind = "any"
) -> Tensor | None:
    """Pixels of the objects, from what a batch is annotated with.

    Args:
        boxes: one (M_i, 4) tensor per image, xyxy pixels, half-open; their union counts.
        masks: (N, H, W) bool, true on the object.
        size: height and width of the images, in pixels.
        kind: which annotation to look at.

    Returns:
        (N, H, W) bool, nowhere true for an image without annotation; `None` if the batch has none of that kind at all.

    Raises:
        ValueError: if boxes or masks are malformed.

    Example:
        >>> import torch
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
    has_mask = of_masks.flatten(1).any(dim=1).view(-1, 1, 1)
    return of_masks.where(has_mask, of_boxes)
