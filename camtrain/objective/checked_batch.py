"""The batch of a step, checked when it comes in."""

from __future__ import annotations

import torch
from torch import Tensor

from camtrain.batch import Batch, check_finite_images, check_images
from camtrain.gradients.not_inference import not_inference


def checked_batch(images: Tensor, labels: Tensor, boxes: list[Tensor] | None, masks: Tensor | None) -> Batch:
    """A batch of what a step was called with.

    Args:
        images: (N, C, H, W), floating point.
        labels: (N,) class indices, or (N, K). The loss checks them, because it knows K.
        boxes: One (M_i, 4) tensor for each image, or `None`.
        masks: (N, H, W) bool, or `None`.

    Raises:
        TypeError: If the images are no floating-point tensor, or labels or masks no tensor.
        ValueError: If the images are not (N, C, H, W), there are none, labels neither (N,) nor (N, K), `boxes` or
            `masks` are of another number of images (a list of length 1 would otherwise be broadcast over the batch), or
            `masks` are not bool or of another size.
        DataError: If an image on the CPU holds NaN or infinity; it is a `ValueError`.

    Example:
        >>> import torch
        >>> checked_batch(torch.zeros(2, 3, 8, 8), torch.tensor([0, 1]), [torch.zeros(0, 4)], None)
        Traceback (most recent call last):
        ValueError: `boxes`: expected one (M, 4) tensor for each of 2 images, got 1
    """
    check_images(images, at_least_one=True)
    if not isinstance(labels, Tensor):
        raise TypeError(f"`labels`: expected class indices (N,) or probabilities (N, K), got {type(labels).__name__}")
    if labels.dim() not in (1, 2):
        raise ValueError(
            f"`labels`: expected ({len(images)},) class indices or ({len(images)}, K) numbers in [0, 1], got shape "
            f"{tuple(labels.shape)}"
        )
    # On an accelerator this check would stop the queue at every step. There, `Classifier` looks at the images when the
    # loss is not finite.
    if images.device.type == "cpu":
        check_finite_images(images)
    if boxes is not None and len(boxes) != len(images):
        raise ValueError(f"`boxes`: expected one (M, 4) tensor for each of {len(images)} images, got {len(boxes)}")
    if masks is not None:
        _check_masks(masks, images)
    return Batch(images, labels, boxes, masks)


def _check_masks(masks: object, images: Tensor) -> None:
    height, width = images.shape[-2:]
    expected = f"`masks`: expected a bool tensor ({len(images)}, {height}, {width}), the masks of {len(images)} images"
    if not isinstance(masks, Tensor):
        raise TypeError(f"{expected}, got {type(masks).__name__}")
    if masks.dtype != torch.bool or masks.shape != (len(images), height, width):
        raise ValueError(f"{expected}, got {masks.dtype} of shape {tuple(masks.shape)}")


def outside_inference(batch: Batch) -> Batch:
    """The same batch without inference tensors, which cannot enter a graph.

    Call it where inference mode is off; see `not_inference`.
    """
    return Batch(
        not_inference(batch.images),
        None if batch.labels is None else not_inference(batch.labels),
        None if batch.boxes is None else [not_inference(boxes) for boxes in batch.boxes],
        None if batch.masks is None else not_inference(batch.masks),
        ignored=None if batch.ignored is None else not_inference(batch.ignored),
        groups=None if batch.groups is None else not_inference(batch.groups),
    )
