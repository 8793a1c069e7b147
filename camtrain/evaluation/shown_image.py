"""An image as people see it, with what is known of its objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from camtrain.batch import Batch
from camtrain.evaluation.annotated_boxes import annotated_boxes
from camtrain.pictures import ObjectOutline, reduced


@dataclass(frozen=True)
class ShownImage:
    """An image for a picture.

    Attributes:
        name: What it is called: the name of its file, or its index.
        picture: (3, H, W) RGB in [0, 1].
        outline: The boxes and the mask of its objects; `None` where nothing is known of them.
    """

    name: str
    picture: Tensor
    outline: ObjectOutline | None = None

    def reduced(self, tile: int) -> ShownImage:
        """The same with a picture whose shorter side has at most so many pixels."""
        return replace(self, picture=reduced(self.picture, tile))


def shown_images(names: Sequence[str], pictures: Sequence[Tensor], batch: Batch) -> list[ShownImage]:
    """The images of a batch.

    An image that has a mask and no box gets the tight box around its mask, which maps are compared with too.

    Args:
        names: The name of each.
        pictures: What each looks like, (3, H, W) RGB in [0, 1].
        batch: The images with their boxes and masks.
    """
    boxes = annotated_boxes(batch)
    return [
        ShownImage(
            name,
            picture.cpu(),
            ObjectOutline.of(picture, boxes[place], None if batch.masks is None else batch.masks[place]),
        )
        for place, (name, picture) in enumerate(zip(names, pictures, strict=True))
    ]
