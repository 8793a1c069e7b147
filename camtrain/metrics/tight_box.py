"""The smallest box around a mask."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import masks_to_boxes


def tight_box(mask: Tensor) -> Tensor:
    """The smallest half-open box around a mask: `x0 = min x` and `x1 = max x + 1` over its true pixels; y likewise.

    Args:
        mask: (H, W) bool mask.

    Returns:
        (1, 4) float32 xyxy pixels; (0, 4) if the mask is false everywhere.

    Example:
        >>> mask = torch.zeros(4, 6, dtype=torch.bool)
        >>> mask[1:3, 2:6] = True
        >>> tight_box(mask)
        tensor([[2., 1., 6., 3.]])
        >>> tight_box(torch.zeros(4, 6, dtype=torch.bool)).shape
        torch.Size([0, 4])
    """
    if not mask.any():
        return torch.zeros(0, 4)
    # The boxes of torchvision end on the last true pixel; half-open boxes end after it.
    boxes: Tensor = masks_to_boxes(mask[None])
    return boxes + torch.tensor([0.0, 0.0, 1.0, 1.0])
