"""What maps are compared with: the boxes and masks of a batch, image by image."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from camtrain.batch import Batch
from camtrain.metrics.tight_box import tight_box
from camtrain.regions import Annotation
from camtrain.regularizers.annotated_regions import annotated_regions


def annotated_boxes(batch: Batch) -> list[Tensor]:
    """The boxes of each image, or the tight box around the mask of an image that has only a mask.

    Each image is treated on its own; the result does not depend on the other images of the batch.

    Returns:
        One (M_i, 4) tensor per image; M_i = 0 if the image has neither boxes nor a mask.

    Example:
        >>> masks = torch.zeros(2, 4, 4, dtype=torch.bool)
        >>> masks[0, 1:3] = True
        >>> [boxes.tolist() for boxes in annotated_boxes(Batch(torch.zeros(2, 3, 4, 4), masks=masks))]
        [[[0.0, 1.0, 4.0, 3.0]], []]
    """
    images = batch.images
    boxes = [images.new_zeros(0, 4) for _ in images] if batch.boxes is None else batch.boxes
    if batch.masks is None:
        return boxes
    masks = batch.masks.as_subclass(Tensor)
    return [box if len(box) else tight_box(mask).to(images.device) for box, mask in zip(boxes, masks, strict=True)]


def annotation_of(batch: Batch, kind: Literal["boxes", "masks", "any"]) -> Annotation:
    """The boxes or masks that maps are compared with.

    Each image is treated on its own; the result does not depend on the other images of the batch.

    Args:
        batch: The images with their annotation.
        kind: `"boxes"` gives those of `annotated_boxes`, `"masks"` the masks, and `"any"` the mask of an image that
            has one and the pixels in the boxes of the other images.

    Returns:
        One (M_i, 4) tensor of boxes per image for `"boxes"`, otherwise (N, H, W) bool masks. An image without
        annotation has M_i = 0 boxes, or a mask that is false everywhere.

    Raises:
        ValueError: If a box or mask is malformed (see `camtrain.regions`).

    Example:
        >>> masks = torch.tensor([[[False, True, True]], [[False, False, False]]])
        >>> boxes = [torch.tensor([[0.0, 0.0, 1.0, 1.0]])] * 2
        >>> annotation_of(Batch(torch.zeros(2, 3, 1, 3), boxes=boxes, masks=masks), "any").int().tolist()
        [[[0, 1, 1]], [[1, 0, 0]]]
    """
    if kind == "boxes":
        return annotated_boxes(batch)
    images = batch.images
    size = (int(images.shape[-2]), int(images.shape[-1]))
    none = images.new_zeros(len(images), *size, dtype=torch.bool)
    masks = none if batch.masks is None else batch.masks.as_subclass(Tensor)
    if kind == "masks" or batch.boxes is None:
        return masks
    found = annotated_regions(batch.boxes, masks, size)  # as regularizers look at them
    assert found is not None  # there are boxes
    return found
