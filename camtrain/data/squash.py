"""Images scaled to a square without a crop, as the benchmarks of weakly supervised localization do."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from camtrain.messages import positive_integer


def squashed_boxes(boxes: Tensor, size: tuple[int, int], new_size: int) -> Tensor:
    """Boxes on an image that is scaled to a square, in whole pixels.

        x0' = ⌊x0 · s / W⌋,    x1' = ⌊(x1 − 1) · s / W⌋ + 1,    and likewise for y with s / H

    So the first and the last pixel of a box are scaled, and rounded down. This is the rule of the benchmark, whose
    boxes end on their last pixel; half-open boxes end after it.

    Args:
        boxes: (M, 4) xyxy pixels, half-open.
        size: The height and width of the image, in pixels.
        new_size: s, the height and width of the square, in pixels.

    Returns:
        (M, 4) float32.

    Source:
        Choe et al., Evaluating Weakly Supervised Object Localization Methods Right, CVPR 2020, arXiv 2001.07437: the
        authors' code.

    Example:
        >>> squashed_boxes(torch.tensor([[60.0, 27.0, 386.0, 332.0]]), (335, 500), 224)
        tensor([[ 26.,  18., 173., 222.]])
    """
    height, width = size
    length = torch.tensor([width, height, width, height], dtype=torch.float64)
    last = torch.tensor([0.0, 0.0, 1.0, 1.0], dtype=torch.float64)
    scaled: Tensor = ((boxes.double() - last) * new_size / length).floor() + last
    return scaled.float()


class Squash(v2.Transform):  # type: ignore[misc]  # torchvision is not typed
    """Scales image, boxes and masks to a square of `size` × `size` pixels; the whole image is kept.

    The image is interpolated bilinearly with antialiasing. Each mask is scaled from its own size with the nearest
    pixel, so that a mask file may have another size than its image. `squashed_boxes` has the rule for boxes.

    Args:
        size: The height and width of the square, in pixels.

    Raises:
        ValueError: If `size` is less than 1, or on a call, if boxes are not xyxy.

    Example:
        >>> Squash(224)({"image": tv_tensors.Image(torch.zeros(3, 335, 500)), "label": 1})["image"].shape
        torch.Size([3, 224, 224])
    """

    def __init__(self, size: int = 224) -> None:
        super().__init__()
        self.size = positive_integer("size", size)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """One part of a sample, scaled."""
        if isinstance(inpt, tv_tensors.BoundingBoxes):
            return self._boxes(inpt)
        square = [self.size, self.size]
        bilinear = v2.InterpolationMode.BILINEAR
        return self._call_kernel(v2.functional.resize, inpt, square, interpolation=bilinear, antialias=True)

    def _boxes(self, boxes: tv_tensors.BoundingBoxes) -> tv_tensors.BoundingBoxes:
        if boxes.format != tv_tensors.BoundingBoxFormat.XYXY:
            raise ValueError(f"`boxes`: expected the format XYXY, got {boxes.format.name}")
        scaled = squashed_boxes(boxes.as_subclass(Tensor), boxes.canvas_size, self.size)
        return tv_tensors.BoundingBoxes(scaled, format="XYXY", canvas_size=(self.size, self.size))
