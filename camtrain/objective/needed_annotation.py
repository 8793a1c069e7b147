"""The boxes and masks that a regularizer cannot work without."""

from __future__ import annotations

from camtrain.batch import Batch
from camtrain.regularizers import Regularizer


def check_annotation(regularizer: Regularizer, batch: Batch) -> None:
    """Check that a batch comes with the kind of annotation that a regularizer looks at.

    Without it the regularizer would do nothing, and nobody would notice. A batch in which no image happens to be
    annotated is fine: it has `boxes` or `masks`, and they are empty.

    Raises:
        ValueError: If the batch has no `boxes` or no `masks` where they are needed.
    """
    kind = regularizer.looks_at
    has_boxes, has_masks = batch.boxes is not None, batch.masks is not None
    given = {"any": has_boxes or has_masks, "boxes": has_boxes, "masks": has_masks}
    if kind is not None and not given[kind]:
        argument, got = ("`boxes` or `masks`", "neither") if kind == "any" else (f"`{kind}`", "none")
        raise ValueError(
            f"{argument}: {type(regularizer).__name__} needs to know where the object is, got {got}; give an image "
            "without annotation no box, (0, 4), or a mask that is false everywhere"
        )


def has_annotated_image(batch: Batch) -> bool:
    """Whether at least one image of a batch has a box or a mask.

    Example:
        >>> import torch
        >>> images = torch.zeros(2, 3, 8, 8)
        >>> has_annotated_image(Batch(images, boxes=[torch.zeros(0, 4), torch.tensor([[0.0, 0.0, 4.0, 4.0]])]))
        True
        >>> has_annotated_image(Batch(images, masks=torch.zeros(2, 8, 8, dtype=torch.bool)))
        False
    """
    has_box = batch.boxes is not None and any(len(boxes) > 0 for boxes in batch.boxes)
    return has_box or (batch.masks is not None and bool(batch.masks.any()))
