"""A photograph as it is shown under a map: at its own size, with the part that the network sees."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from camtrain.pictures import MAP_COLORS, OUTLINES, ObjectOutline, gradient_picture, overlay, reduced

LARGEST_SIDE = 1024  # pixels of the longer side; a larger photograph is reduced to it
_PALE = "pale: outside of what the network sees"
_PALENESS = 0.65


@dataclass(frozen=True)
class PhotoView:
    """A picture, and the part of it that maps are of.

    Attributes:
        picture: (3, H, W) RGB in [0, 1].
        seen: Left, top, right and bottom edge of the part that the network sees, in pixels of the picture.
        outline: The boxes and the mask of the objects; `None` where nothing is known of them.
    """

    picture: Tensor
    seen: tuple[int, int, int, int]
    outline: ObjectOutline | None = None

    @classmethod
    def of_input(cls, picture: Tensor) -> PhotoView:
        """What the network sees, (3, H, W), where nothing else is known."""
        return cls(picture, (0, 0, picture.shape[-1], picture.shape[-2]))

    @classmethod
    def of_photograph(cls, photograph: Tensor, seen: tuple[float, float, float, float]) -> PhotoView:
        """A photograph, (3, H, W), reduced if it is large.

        Args:
            photograph: RGB in [0, 1].
            seen: The part that the network sees, in pixels of the photograph.
        """
        height, width = photograph.shape[-2:]
        shorter = round(min(height, width) * min(1.0, LARGEST_SIDE / max(height, width)))
        picture = reduced(photograph, max(1, shorter))
        right, down = picture.shape[-1] / width, picture.shape[-2] / height
        left, top, end, bottom = seen[0] * right, seen[1] * down, seen[2] * right, seen[3] * down
        return cls(
            picture, (round(left), round(top), max(round(end), round(left) + 1), max(round(bottom), round(top) + 1))
        )

    @property
    def meaning(self) -> list[str]:
        """What the colors and lines of the picture mean, with a map over it."""
        said = [MAP_COLORS]
        said += [OUTLINES] if self.outline is not None else []
        return said + ([_PALE] if self.is_partly_seen else [])

    @property
    def is_partly_seen(self) -> bool:
        """Whether the network sees a part of the picture only."""
        return self.seen != (0, 0, self.picture.shape[-1], self.picture.shape[-2])

    def shown(self) -> Tensor:
        """The picture, pale outside of the part that the network sees."""
        left, top, right, bottom = self.seen
        return self._with(self.picture[:, top:bottom, left:right])

    def overlaid(self, cam: Tensor) -> Tensor:
        """The picture with a map, (h, w) in [0, 1], in color over the part that the network sees."""
        left, top, right, bottom = self.seen
        part = self.picture[:, top:bottom, left:right].clamp(0, 1)
        return self._with(overlay(part, self._scaled(cam[None])[0].clamp(0, 1)))

    def with_gradient(self, gradient: Tensor) -> Tensor:
        """The picture with a gradient, (C, h, w), in gray in the place of the part that the network sees."""
        return self._with(self._scaled(gradient_picture(gradient.cpu())).clamp(0, 1))

    def within(self, ratio: float) -> PhotoView:
        """The view without the ends of a long picture, so that its sides are at most in this ratio.

        No part that the network sees is left out.
        """
        height, width = self.picture.shape[-2:]
        left, top, right, bottom = self.seen
        x0, x1 = _kept(left, right, width, round(ratio * height))
        y0, y1 = _kept(top, bottom, height, round(ratio * width))
        if (x0, y0, x1, y1) == (0, 0, width, height):
            return self
        outline = None if self.outline is None else _cut(self.outline, (x0, y0, x1, y1), height, width)
        seen = (left - x0, top - y0, right - x0, bottom - y0)
        return replace(self, picture=self.picture[:, y0:y1, x0:x1], seen=seen, outline=outline)

    def _scaled(self, values: Tensor) -> Tensor:
        """Values at the network's input, (C, h, w), at the size of the part of the picture."""
        left, top, right, bottom = self.seen
        size = (bottom - top, right - left)
        values = values.detach().cpu().float()
        if values.shape[-2:] == size:
            return values
        return F.interpolate(values[None], size=size, mode="bilinear", align_corners=False)[0]

    def _with(self, part: Tensor) -> Tensor:
        """The picture with another part; the rest is pale."""
        if not self.is_partly_seen:
            return part
        left, top, right, bottom = self.seen
        gray = self.picture.mean(dim=0, keepdim=True).expand(3, -1, -1)
        shown = _PALENESS + (1 - _PALENESS) * gray
        shown[:, top:bottom, left:right] = part
        return shown


def _kept(start: int, end: int, length: int, most: int) -> tuple[int, int]:
    """The first and last pixel to keep of a side, around the part from `start` to `end`."""
    size = min(length, max(most, end - start))
    first = min(max(0, (start + end - size) // 2), length - size)
    return first, first + size


def _cut(outline: ObjectOutline, part: tuple[int, int, int, int], height: int, width: int) -> ObjectOutline:
    """The outline of a part of a picture of that size."""
    x0, y0, x1, y1 = part
    boxes = outline.boxes_at(height, width) - torch.tensor([x0, y0, x0, y0])
    mask = None
    if outline.mask is not None:
        rows, columns = outline.mask.shape
        top, bottom = round(y0 * rows / height), round(y1 * rows / height)
        left, right = round(x0 * columns / width), round(x1 * columns / width)
        mask = outline.mask[top:bottom, left:right]
    return ObjectOutline(boxes, (y1 - y0, x1 - x0), mask)
