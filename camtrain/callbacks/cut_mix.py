"""CutMix: training images into which a rectangle of another image is pasted, with its boxes and masks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.transforms import v2

from camtrain.batch import Batch
from camtrain.callbacks.mixed_batches import MixedBatches, mixed_labels

Rectangle = tuple[int, int, int, int]


def boxes_outside(boxes: Tensor, rectangle: Rectangle) -> Tensor:
    """The boxes of what is left of objects on which a rectangle was pasted.

    A box gets smaller where the rectangle covers it from side to side, and is gone where nothing is left of it.
    Otherwise a part of the object remains at each of its four sides, and the box is as it was.

    Args:
        boxes: (M, 4) xyxy pixels, half-open.
        rectangle: x0, y0, x1, y1 in pixels, half-open.

    Returns:
        At most M boxes, each at least a pixel wide and high.

    Example:
        >>> boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [2.0, 2.0, 9.0, 3.0], [6.0, 2.0, 7.0, 3.0]])
        >>> boxes_outside(boxes, (3, 0, 8, 4)).tolist()
        [[0.0, 0.0, 3.0, 4.0], [2.0, 2.0, 9.0, 3.0]]
    """
    x0, y0, x1, y1 = boxes.unbind(dim=1)
    left, top, right, bottom = rectangle
    in_rows, in_columns = (top <= y0) & (y1 <= bottom), (left <= x0) & (x1 <= right)
    edges = [
        torch.where(in_rows & (left <= x0), x0.clamp(min=right), x0),
        torch.where(in_columns & (top <= y0), y0.clamp(min=bottom), y0),
        torch.where(in_rows & (x1 <= right), x1.clamp(max=left), x1),
        torch.where(in_columns & (y1 <= bottom), y1.clamp(max=top), y1),
    ]
    return _not_empty(torch.stack(edges, dim=1))


def boxes_inside(boxes: Tensor, rectangle: Rectangle) -> Tensor:
    """The parts of boxes that are inside a rectangle; the arguments are those of `boxes_outside`.

    Example:
        >>> boxes_inside(torch.tensor([[0.0, 0.0, 4.0, 4.0], [6.0, 6.0, 7.0, 7.0]]), (3, 0, 8, 4)).tolist()
        [[3.0, 0.0, 4.0, 4.0]]
    """
    left, top, right, bottom = rectangle
    low, high = boxes.new_tensor([left, top]), boxes.new_tensor([right, bottom])
    return _not_empty(torch.cat([torch.maximum(boxes[:, :2], low), torch.minimum(boxes[:, 2:], high)], dim=1))


def _not_empty(boxes: Tensor) -> Tensor:
    return boxes[((boxes[:, 2:] - boxes[:, :2]) >= 1).all(dim=1)]


def pasted(values: Tensor, rectangle: Rectangle) -> Tensor:
    """Images or masks (N, ..., H, W) with a rectangle of the image before, whose first one has that of the last.

    Example:
        >>> pasted(torch.tensor([[[1, 1]], [[2, 2]]]), (1, 0, 2, 1)).tolist()
        [[[1, 2]], [[2, 1]]]
    """
    x0, y0, x1, y1 = rectangle
    mixed = values.clone()
    mixed[..., y0:y1, x0:x1] = values.roll(1, 0)[..., y0:y1, x0:x1]
    return mixed


def pasted_boxes(boxes: Sequence[Tensor], rectangle: Rectangle) -> list[Tensor]:
    """The boxes of images into which a rectangle of the image before was pasted.

    No box says that it is not known where the object is, and then it is not known of the mixture either.

    Args:
        boxes: (M_i, 4) of each image, xyxy pixels, half-open.
        rectangle: As for `boxes_outside`.

    Example:
        >>> boxes = [torch.tensor([[0.0, 0.0, 4.0, 4.0]]), torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.zeros(0, 4)]
        >>> [each.tolist() for each in pasted_boxes(boxes, (0, 0, 1, 8))]
        [[], [[1.0, 0.0, 2.0, 2.0], [0.0, 0.0, 1.0, 4.0]], []]
    """
    plain = [each.as_subclass(Tensor) for each in boxes]
    return [
        torch.cat([boxes_outside(own, rectangle), boxes_inside(other, rectangle)])
        if len(own) and len(other)
        else own.new_zeros(0, 4)
        for own, other in zip(plain, [plain[-1], *plain[:-1]], strict=True)
    ]


def pasted_masks(masks: Tensor, rectangle: Rectangle) -> Tensor:
    """The masks (N, H, W) of images into which a rectangle of the image before was pasted.

    Nowhere true says that it is not known where the object is, and then it is not known of the mixture either.

    Example:
        >>> pasted_masks(torch.tensor([[[True, True]], [[True, False]], [[False, False]]]), (1, 0, 2, 1)).tolist()
        [[[False, False]], [[True, True]], [[False, False]]]
    """
    plain = masks.as_subclass(Tensor)
    known = plain.flatten(1).any(dim=1)
    return pasted(plain, rectangle) & (known & known.roll(1))[:, None, None]


class CutMix(MixedBatches):
    """Pastes a rectangle of another image into each training image, and mixes the labels in proportion (CutMix).

    The rectangle is the same for all images of a batch, and each image gets that of the image before it; torchvision's
    `CutMix` draws it. Labels become (N, K) probabilities, (1 − a, a) for a rectangle with a fraction a of the pixels.
    Masks and ignored pixels are pasted with the images. The boxes of an image are those of what is left of its objects,
    and of what was pasted; one of less than a pixel is gone. Where it is not known of one of the two images where its
    object is, it is not known of the mixture: it has no boxes, or a mask that is nowhere true. A batch whose rectangle
    has no pixels stays as it is.

    Args:
        alpha: The parameter of the Beta distribution of the fraction of an image that stays; 1 makes all equally
            likely.
        probability: The probability that a batch is mixed. It is 1 in the benchmark of weakly supervised localization,
            and 0.5 in the paper for CIFAR.

    Raises:
        ValueError: If an argument is out of range.
        TypeError: In training, if a batch is no `camtrain.batch.Batch` with labels, or the number of classes is not
            known.

    Source:
        Yun et al., CutMix, ICCV 2019, arXiv 1905.04899.
    """

    def __init__(self, alpha: float = 1.0, probability: float = 1.0) -> None:
        super().__init__(alpha, probability)
        self._draw = v2.CutMix(alpha=self.alpha)

    def mixed(self, batch: Batch, num_classes: int) -> Batch:
        """See `MixedBatches`.

        Example:
            >>> _ = torch.manual_seed(0)
            >>> batch = Batch(torch.stack([torch.zeros(3, 8, 8), torch.ones(3, 8, 8)]), torch.tensor([0, 1]))
            >>> mixed = CutMix().mixed(batch, num_classes=2)
            >>> torch.allclose(mixed.images.mean((1, 2, 3)), mixed.labels[:, 1])
            True
        """
        params = self._draw.make_params([batch.images])
        rectangle: Rectangle = params["box"]
        kept: float = params["lam_adjusted"]
        if kept == 1:  # the rectangle is empty
            return batch
        return Batch(
            pasted(batch.images, rectangle),
            mixed_labels(batch.labels, kept, num_classes, batch.images.dtype),
            None if batch.boxes is None else pasted_boxes(batch.boxes, rectangle),
            None if batch.masks is None else pasted_masks(batch.masks, rectangle),
            ignored=None if batch.ignored is None else pasted(batch.ignored.as_subclass(Tensor), rectangle),
            groups=batch.groups,
        )
