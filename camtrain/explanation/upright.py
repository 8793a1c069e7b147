"""Boxes and masks turned as the EXIF orientation turns their photograph."""

from __future__ import annotations

import torch
from torch import Tensor

# By orientation: whether rows and columns change places, and then which of x and y are mirrored.
_TURNS = {
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}
_AS_STORED = (False, False, False)


def upright_boxes(boxes: Tensor, orientation: int | None, width: int, height: int) -> Tensor:
    """Boxes of a stored image as boxes of the photograph that is turned the right way up.

    Args:
        boxes: (M, 4), xyxy in pixels of the stored image.
        orientation: The EXIF orientation; `None` is as stored.
        width: The width of the upright photograph.
        height: Its height.

    Example:
        >>> upright_boxes(torch.tensor([[0.0, 0.0, 2.0, 1.0]]), 6, width=10, height=20).tolist()
        [[9.0, 0.0, 10.0, 2.0]]
    """
    is_transposed, mirrors_x, mirrors_y = _TURNS.get(orientation or 1, _AS_STORED)
    x0, y0, x1, y1 = boxes.unbind(dim=1)
    if is_transposed:
        x0, y0, x1, y1 = y0, x0, y1, x1
    if mirrors_x:
        x0, x1 = width - x1, width - x0
    if mirrors_y:
        y0, y1 = height - y1, height - y0
    return torch.stack([x0, y0, x1, y1], dim=1)


def upright_mask(mask: Tensor, orientation: int | None) -> Tensor:
    """The mask of a stored image, (H, W), as that of the photograph that is turned the right way up.

    Example:
        >>> upright_mask(torch.tensor([[True, False], [False, False]]), 6).tolist()
        [[False, True], [False, False]]
    """
    is_transposed, mirrors_x, mirrors_y = _TURNS.get(orientation or 1, _AS_STORED)
    turned = mask.T if is_transposed else mask
    mirrored = [dim for dim, is_mirrored in ((1, mirrors_x), (0, mirrors_y)) if is_mirrored]
    return turned.flip(mirrored) if mirrored else turned
