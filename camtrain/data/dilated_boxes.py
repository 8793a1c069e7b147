"""Boxes that are too large, as a hasty annotator draws them."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors

from camtrain.batch import Sample
from camtrain.data.transformed_samples import Samples


def dilated_boxes(boxes: Tensor, dilation: float, size: tuple[int, int]) -> Tensor:
    """Move each side of a box outward by a fraction of the width or height of the box, up to the border of the image.

    `x0' = max(x0 - d · w, 0)`, `x1' = min(x1 + d · w, W)`, and likewise for y. Away from the border, the box becomes
    1 + 2d times as wide and as high.

    Args:
        boxes: The boxes, (M, 4) half-open xyxy pixels.
        dilation: The fraction d, at least 0.
        size: The height and width of the image, in pixels.

    Returns:
        The dilated boxes, (M, 4).

    Source: Rao et al., "Studying How to Efficiently and Effectively Guide Models with Explanations", ICCV 2023, who
    dilate by 10, 25 and 50 %; the authors' code moves each side by that much. Departure: their code rounds the margins
    down to whole pixels of the 224 x 224 images.

    Example:
        >>> dilated_boxes(torch.tensor([[10.0, 10.0, 30.0, 20.0]]), 0.25, size=(21, 100))
        tensor([[ 5.0000,  7.5000, 35.0000, 21.0000]])
    """
    height, width = size
    extent = boxes[:, 2:] - boxes[:, :2]
    limit = torch.tensor([width, height], dtype=boxes.dtype)
    start = (boxes[:, :2] - dilation * extent).clamp(min=0)
    end = torch.minimum(boxes[:, 2:] + dilation * extent, limit)
    return torch.cat([start, end], dim=1)


class DilatedBoxes(Dataset[Sample]):
    """Samples with dilated boxes; images and masks are unchanged.

    Args:
        samples: The samples; boxes, if there are any, are xyxy.
        dilation: The fraction of its width or height by which each side of a box is moved outward.

    Example:
        >>> boxes = tv_tensors.BoundingBoxes([[2.0, 2.0, 4.0, 4.0]], format="XYXY", canvas_size=(6, 6))
        >>> DilatedBoxes([{"image": torch.zeros(3, 6, 6), "label": 0, "boxes": boxes}], 0.5)[0]["boxes"].tolist()
        [[1.0, 1.0, 5.0, 5.0]]
    """

    def __init__(self, samples: Samples, dilation: float) -> None:
        self.samples = samples
        self.dilation = dilation

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        sample = self.samples[index]
        if "boxes" not in sample:
            return sample
        dilated = cast(Sample, dict(sample))
        boxes = sample["boxes"]
        enlarged = dilated_boxes(boxes.as_subclass(Tensor), self.dilation, boxes.canvas_size)
        dilated["boxes"] = tv_tensors.wrap(enlarged, like=boxes)
        return dilated
