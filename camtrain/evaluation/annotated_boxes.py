"""The boxes of images, also of those whose masks alone are known."""

from __future__ import annotations

from torch import Tensor

from camtrain.batch import Batch
from camtrain.metrics.tight_box import tight_box


def annotated_boxes(batch: Batch) -> list[Tensor]:
    """The boxes of each image; of one that has none, the tight box around its mask.

    It is decided image by image, so that what is known of one does not depend on its neighbors.

    Returns:
        One (M_i, 4) tensor per image, M_i = 0 where nothing is known.

    Example:
        >>> import torch
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
