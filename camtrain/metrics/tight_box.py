"""The smallest box around a mask."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import masks_to_boxes


def tight_box(mask: Tensor) -> Tensor:
    """Smallest half-open box around a mask: `x0 = min x`, `x1 = max x + 1` over its true pixels, and so for y.

    Args:
        mask: (H, W) bool.

    Returns:
        (1, 4) float32 xyxy pixels; (0, 4) if the mask is nowhere true.

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
    # torchvision's boxes end on the last true pixel; half-open ones end after it
    boxes: Tensor = masks_to_boxes(mask[None])
    return boxes + torch.tensor([0.0, 0.0, 1.0, 1.0])
