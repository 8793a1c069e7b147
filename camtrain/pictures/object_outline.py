"""Where the objects of a picture are, drawn as lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from camtrain.pictures.pixels import Pixels

OUTLINE_COLOR = (0, 255, 102)
"""Of boxes and of the edges of masks; it is none of the colors of a map."""

OUTLINES = "green lines: boxes and masks of the objects"
"""What a sheet with outlines says of them."""

_PER_LINE = 130  # pixels of the picture's shorter side for each pixel of a line


@dataclass(frozen=True)
class ObjectOutline:
    """The boxes of a picture's objects, and their mask.

    Attributes:
        boxes: (M, 4), xyxy, half-open, in pixels of a picture of `size`.
        size: Height and width of that picture. The one that is drawn on may have another size and the same proportions.
        mask: (h, w) bool of the whole picture, true on the objects; `None` where it is not known.
    """

    boxes: Tensor
    size: tuple[int, int]
    mask: Tensor | None = None

    @classmethod
    def of(cls, picture: Tensor, boxes: Tensor | None, mask: Tensor | None) -> ObjectOutline | None:
        """The outline of the objects in a picture, (3, H, W); `None` where nothing is known of them.

        Args:
            picture: The picture.
            boxes: (M, 4) in its pixels; `None` and M = 0 are unknown.
            mask: (H, W) bool; `None` and nowhere true are unknown.

        Example:
            >>> ObjectOutline.of(torch.zeros(3, 8, 8), torch.zeros(0, 4), None) is None
            True
        """
        known = torch.zeros(0, 4) if boxes is None else boxes.detach().cpu().float().as_subclass(Tensor)
        has_mask = mask is not None and bool(mask.any())
        if not len(known) and not has_mask:
            return None
        height, width = picture.shape[-2:]
        return cls(known, (height, width), mask.detach().cpu().bool().as_subclass(Tensor) if has_mask else None)  # type: ignore[union-attr]

    def boxes_at(self, height: int, width: int) -> Tensor:
        """The boxes in pixels of a picture of another size, (M, 4)."""
        down, right = height / self.size[0], width / self.size[1]
        return self.boxes * torch.tensor([right, down, right, down])


def outlined(pixels: Pixels, outline: ObjectOutline | None) -> Pixels:
    """A picture with the boxes and the edges of the mask drawn on it, in green between black lines.

    Args:
        pixels: The picture, (H, W, 3).
        outline: What is drawn; `None` draws nothing.

    Returns:
        A new picture, or the same where nothing is drawn.

    Example:
        >>> outline = ObjectOutline(torch.tensor([[2.0, 2.0, 6.0, 6.0]]), (8, 8))
        >>> outlined(np.full((8, 8, 3), 255, dtype=np.uint8), outline)[2, :, 0].tolist()
        [255, 0, 0, 0, 0, 0, 0, 255]
    """
    if outline is None:
        return pixels
    height, width = pixels.shape[:2]
    line = line_width(height, width)
    edges = outline_edges(outline, height, width, line)
    drawn = pixels.copy()
    drawn[grown(edges, line)] = 0
    drawn[edges] = OUTLINE_COLOR
    return drawn


def line_width(height: int, width: int) -> int:
    """The width of lines on a picture of a size, in pixels."""
    return max(1, round(min(height, width) / _PER_LINE))


def outline_edges(outline: ObjectOutline, height: int, width: int, line: int) -> Any:
    """(H, W) bool of a picture of a size, true on the edges of boxes and of the mask.

    Args:
        outline: The objects.
        height: The height of the picture in pixels.
        width: Its width.
        line: The width of the lines.
    """
    edges = np.zeros((height, width), dtype=bool)
    for box in outline.boxes_at(height, width).round().int().tolist():
        edges |= _frame(box, line, height, width)
    if outline.mask is not None:
        edges |= mask_edge(outline.mask, line, height, width)
    return edges


def _frame(box: list[int], line: int, height: int, width: int) -> Any:
    """(H, W) bool, true on the edge of a box; what lies outside the picture is cut off."""
    x0, y0, x1, y1 = box
    rows, columns = np.arange(height)[:, None], np.arange(width)[None]

    def inside(by: int) -> Any:
        return (rows >= y0 + by) & (rows < y1 - by) & (columns >= x0 + by) & (columns < x1 - by)

    return inside(0) & ~inside(line)


def mask_edge(mask: Tensor, line: int, height: int, width: int) -> Any:
    """(H, W) bool, true on the pixels of the mask that are next to other ones."""
    shown = F.interpolate(mask[None, None].float(), size=(height, width), mode="nearest")[0, 0].numpy() > 0
    return shown & grown(~shown, line)


def grown(where: Any, by: int) -> Any:
    """(H, W) bool, true on all pixels that are at most so many pixels away from a true one."""
    values = torch.from_numpy(where)[None].float()
    return F.max_pool2d(values, 2 * by + 1, stride=1, padding=by)[0].numpy() > 0
