"""The number of each image that an explanation is about."""

from __future__ import annotations

import torch
from torch import Tensor


def class_score(logits: Tensor, class_idx: int | Tensor | None = None) -> Tensor:
    """Logit of the class to explain, one per image.

    Args:
        logits: (N, K).
        class_idx: one class for all images, or (N,) integers; `None` is the predicted class of each.

    Returns:
        (N,), in the graph of `logits`.

    Raises:
        ValueError: if `logits` are not (N, K), a class is not in [0, K), or `class_idx` is not one integer per image.

    Example:
        >>> class_score(torch.tensor([[1.0, 2.0], [4.0, 3.0]]))
        tensor([2., 4.])
        >>> class_score(torch.tensor([[1.0, 2.0], [4.0, 3.0]]), 0)
        tensor([1., 4.])
    """
    if not isinstance(logits, Tensor) or logits.dim() != 2:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(f"`network`: expected (N, K) logits from it, got {got}")
    images, classes = logits.shape
    if class_idx is None:
        index = logits.detach().argmax(dim=1)
    else:
        index = torch.as_tensor(class_idx, device=logits.device)
        if index.is_floating_point() or index.dtype == torch.bool:
            raise ValueError(f"`class_idx`: expected integers, got {index.dtype}")
        if index.dim() == 0:
            index = index.expand(images)
        if index.shape != (images,):
            raise ValueError(f"`class_idx`: expected one class, or one for each of {images} images, got {class_idx!r}")
        outside = index[(index < 0) | (index >= classes)]
        if len(outside):
            raise ValueError(f"`class_idx`: expected classes from 0 to {classes - 1}, got {int(outside[0])}")
        # Indices made under inference mode, as a test loop's labels are, cannot be kept for the backward; a clone can.
        index = index.clone() if index.is_inference() else index
    return logits.gather(1, index.long().unsqueeze(1)).squeeze(1)
