"""Random crops and flips of whole batches, each image with a draw of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import v2

from camtrain.batch import Batch

Size = tuple[int, int]
"""The height and width of an image, in pixels."""


class BatchMove(Protocol):
    """What is done to the images of one batch, each with a draw of its own, and to the boxes on them."""

    def size_after(self, size: Size) -> Size:
        """The height and width of the images after the move.

        Args:
            size: Those before it.
        """

    def pixels(self, pixels: Tensor) -> Tensor:
        """Images or masks (N, C, H, W) that are moved."""

    def boxes(self, boxes: Tensor, image_of: Tensor, size: Size) -> Tensor:
        """Boxes that move with their images.

        Args:
            boxes: The boxes of all images, (M, 4) xyxy pixels, half-open.
            image_of: The place in the batch of the image of each box, (M,).
            size: The height and width of the images before the move.
        """


@dataclass(frozen=True)
class Crops:
    """Crops of one size, after a border of zeros is added.

    Args:
        size: The height and width of the crops.
        padding: The widths of the border at the left, right, top and bottom.
        tops: The first row of each crop, counted from the top of the border, (N,).
        lefts: The first column of each, likewise.

    Example:
        >>> crops = Crops((1, 2), (0, 1, 0, 0), tops=torch.tensor([0, 1]), lefts=torch.tensor([0, 1]))
        >>> crops.pixels(torch.tensor([[[[1, 2], [3, 4]]], [[[5, 6], [7, 8]]]])).tolist()
        [[[[1, 2]]], [[[8, 0]]]]
    """

    size: Size
    padding: tuple[int, int, int, int]
    tops: Tensor
    lefts: Tensor

    def size_after(self, size: Size) -> Size:
        """See `BatchMove`."""
        return self.size

    def pixels(self, pixels: Tensor) -> Tensor:
        """See `BatchMove`."""
        height, width = self.size
        padded = F.pad(pixels, self.padding) if any(self.padding) else pixels
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # a view: (N, C, top, left, height, width)
        places = torch.arange(len(pixels), device=pixels.device)
        return windows[places, :, _on(pixels.device, self.tops), _on(pixels.device, self.lefts)]

    def boxes(self, boxes: Tensor, image_of: Tensor, size: Size) -> Tensor:
        """See `BatchMove`; boxes end at the border of the crop."""
        left, _, top, _ = self.padding
        start = torch.stack([self.lefts, self.tops], dim=1)[image_of].repeat(1, 2)
        # In this order, so that a fraction of a pixel is rounded as torchvision does.
        moved = (boxes + boxes.new_tensor([left, top, left, top])) - start.to(boxes.dtype)
        return _inside(moved, self.size)


@dataclass(frozen=True)
class Flips:
    """Mirrors some images of a batch.

    Args:
        flipped: Which images, (N,) bool.
        horizontal: Whether left and right change places; otherwise top and bottom.

    Example:
        >>> Flips(torch.tensor([True, False])).pixels(torch.tensor([[[[1, 2]]], [[[3, 4]]]])).tolist()
        [[[[2, 1]]], [[[3, 4]]]]
    """

    flipped: Tensor
    horizontal: bool = True

    def size_after(self, size: Size) -> Size:
        """See `BatchMove`."""
        return size

    def pixels(self, pixels: Tensor) -> Tensor:
        """See `BatchMove`."""
        flipped = _on(pixels.device, self.flipped)[:, None, None, None]
        return torch.where(flipped, pixels.flip(3 if self.horizontal else 2), pixels)

    def boxes(self, boxes: Tensor, image_of: Tensor, size: Size) -> Tensor:
        """See `BatchMove`."""
        height, width = size
        x0, y0, x1, y1 = boxes.unbind(dim=1)
        mirrored = [width - x1, y0, width - x0, y1] if self.horizontal else [x0, height - y1, x1, height - y0]
        return torch.where(self.flipped[image_of][:, None], torch.stack(mirrored, dim=1), boxes)


def drawn_move(transform: v2.Transform, count: int, size: Size) -> BatchMove | None:
    """What a random transform of torchvision does to the images of a batch, drawn for each image.

    The draws have the distribution of the transform's own. They come from PyTorch's global generator on the CPU,
    whatever device the images are on.

    Args:
        transform: The transform.
        count: The number of images.
        size: The height and width of the images.

    Returns:
        The move; `None` unless the transform is a `RandomCrop` that fits into the image and adds nothing but zeros, a
        `RandomHorizontalFlip` or a `RandomVerticalFlip`.

    Example:
        >>> drawn_move(v2.RandomHorizontalFlip(p=1.0), 2, (8, 8)).flipped
        tensor([True, True])
        >>> drawn_move(v2.RandomCrop(9), 2, (8, 8)) is None
        True
    """
    # A subclass may do something else.
    if type(transform) is v2.RandomHorizontalFlip or type(transform) is v2.RandomVerticalFlip:
        return Flips(torch.rand(count) < transform.p, type(transform) is v2.RandomHorizontalFlip)
    if type(transform) is not v2.RandomCrop:
        return None
    left, right, top, bottom = padding = tuple(transform.padding or (0, 0, 0, 0))
    adds_zeros = transform.fill == 0 and transform.padding_mode == "constant"
    if not adds_zeros or min(padding) < 0:
        return None
    height, width = tuple(transform.size)
    rows, columns = size[0] + top + bottom - height + 1, size[1] + left + right - width + 1
    if min(rows, columns) < 1:
        return None
    return Crops((height, width), padding, torch.randint(rows, (count,)), torch.randint(columns, (count,)))


def drawn_moves(transforms: Sequence[v2.Transform], count: int, size: Size) -> list[BatchMove] | None:
    """What some transforms do to the images of a batch, one after the other, with draws of its own for each image.

    Args:
        transforms: The transforms, in their order.
        count: The number of images.
        size: The height and width of the images before the transforms.

    Returns:
        The moves; `None` if `drawn_move` does not know one of the transforms. Without images, nothing is drawn.

    Example:
        >>> len(drawn_moves([v2.RandomCrop(8, padding=1), v2.RandomHorizontalFlip()], 2, (8, 8)))
        2
        >>> drawn_moves([v2.RandomCrop(8, padding=1), v2.ColorJitter(0.5)], 2, (8, 8)) is None
        True
    """
    moves: list[BatchMove] = []
    for transform in transforms:
        move = drawn_move(transform, count, size)
        if move is None:
            return None
        moves.append(move)
        size = move.size_after(size)
    return moves


def moved_batch(batch: Batch, moves: Sequence[BatchMove], device: torch.device | None = None) -> Batch:
    """A batch whose images are moved, with the boxes and masks on them.

    Afterwards, boxes are cut at the border of the image, and those of which less than one pixel is left are dropped.

    Args:
        batch: Images of any type; boxes are moved on the CPU, where draws are made.
        moves: What is done, in its order.
        device: Where images and masks are moved; `None` leaves them where they are.

    Example:
        >>> batch = Batch(torch.tensor([[[[1, 2]]]]), boxes=[torch.tensor([[0.0, 0.0, 1.0, 1.0]])])
        >>> flipped = moved_batch(batch, [Flips(torch.tensor([True]))])
        >>> flipped.images.tolist(), flipped.boxes
        ([[[[2, 1]]]], [tensor([[1., 0., 2., 1.]])])
    """
    device = batch.images.device if device is None else device
    boxes = None if batch.boxes is None else _moved_boxes(batch.boxes, moves, _size_of(batch.images), device)
    ready = replace(batch, boxes=None)
    if device.type == "cuda" and batch.images.device.type == "cpu":
        ready = ready.pin_memory()  # the GPU would be waited for otherwise
    ready = ready.to(device)
    return replace(
        ready,
        boxes=boxes,
        images=_moved_pixels(ready.images, moves),
        masks=None if ready.masks is None else _moved_pixels(ready.masks[:, None], moves)[:, 0],
        ignored=None if ready.ignored is None else _moved_pixels(ready.ignored[:, None], moves)[:, 0],
    )


def _moved_pixels(pixels: Tensor, moves: Sequence[BatchMove]) -> Tensor:
    moved = pixels.as_subclass(Tensor)
    for move in moves:
        moved = move.pixels(moved)
    return moved


def _moved_boxes(boxes: Sequence[Tensor], moves: Sequence[BatchMove], size: Size, device: torch.device) -> list[Tensor]:
    """The boxes of each image after the moves, which are computed on the CPU and copied at once."""
    moved = torch.cat([each.as_subclass(Tensor).cpu() for each in boxes])
    image_of = torch.arange(len(boxes)).repeat_interleave(torch.tensor([len(each) for each in boxes]))
    for move in moves:
        moved = move.boxes(moved, image_of, size)
        size = move.size_after(size)
    moved = _inside(moved, size)
    is_seen = (moved[:, 2:] - moved[:, :2] >= 1).all(dim=1)
    counts = torch.bincount(image_of[is_seen], minlength=len(boxes))
    return list(torch.split(_on(device, moved[is_seen]), counts.tolist()))


def _inside(boxes: Tensor, size: Size) -> Tensor:
    height, width = size
    return torch.minimum(boxes.clamp(min=0), boxes.new_tensor([width, height, width, height]))


def _size_of(images: Tensor) -> Size:
    return int(images.shape[-2]), int(images.shape[-1])


def _on(device: torch.device, drawn: Tensor) -> Tensor:
    """Numbers on a device, for which a GPU is not waited for."""
    return drawn.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else drawn.to(device)
