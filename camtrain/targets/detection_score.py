"""How well a detector still finds given objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import box_iou

from camtrain.gradients import Target
from camtrain.targets.per_image import changed_items


@dataclass(frozen=True, eq=False)
class DetectionScore(Target):
    """How well a detector finds given objects, from the detections that torchvision's detectors put out.

        y = Σ_m [IoU(b_m, b̂) + ŝ],    b̂ the detection of the same label that overlaps b_m most, and ŝ its score

    A detection that overlaps its object by `iou_threshold` or less counts nothing.

    Args:
        boxes: b, (M, 4) xyxy in pixels for each image.
        labels: The labels of these boxes, (M,) for each image.
        iou_threshold: The overlap above which a detection counts.

    Raises:
        ValueError: If there are not as many labels as boxes.

    Source:
        The score is that of `FasterRCNNBoxScoreTarget` in pytorch-grad-cam, except that only detections of the same
        label are looked at.

    Example:
        >>> detections = [{"boxes": torch.tensor([[0.0, 0.0, 4.0, 2.0]]), "labels": torch.tensor([7]),
        ...                "scores": torch.tensor([0.75])}]
        >>> DetectionScore([torch.tensor([[0.0, 0.0, 4.0, 4.0]])], [torch.tensor([7])], 0.25)(detections)
        tensor([1.2500])
    """

    boxes: Sequence[Tensor]
    labels: Sequence[Tensor]
    iou_threshold: float = 0.5

    def __post_init__(self) -> None:
        if [len(boxes) for boxes in self.boxes] != [len(labels) for labels in self.labels]:
            raise ValueError("`labels`: expected one for each box of each image")

    def __call__(self, output: Any) -> Tensor:
        """The score of each image, (N,).

        Raises:
            ValueError: If the output is not a list of N dictionaries with boxes, labels and scores.
        """
        if not isinstance(output, Sequence) or not all(isinstance(each, Mapping) for each in output):
            raise ValueError(
                f"`network`: expected a list of detections, one for each image, got {type(output).__name__}"
            )
        if len(output) != len(self.boxes):
            raise ValueError(f"`boxes`: expected those of {len(output)} images, got {len(self.boxes)}")
        scores = [self._of_image(*each) for each in zip(output, self.boxes, self.labels, strict=True)]
        return torch.stack(scores) if scores else torch.zeros(0)

    def _of_image(self, found: Mapping[str, Tensor], boxes: Tensor, labels: Tensor) -> Tensor:
        # Zero, but in the graph: an image whose objects are not found has a flat map and is no error.
        total = 0.0 * (found["boxes"].sum() + found["scores"].sum())
        for box, label in zip(boxes.to(found["boxes"]), labels.tolist(), strict=True):
            same = (found["labels"] == label).nonzero().squeeze(1)
            if len(same):
                overlaps = box_iou(box.unsqueeze(0), found["boxes"][same]).squeeze(0)
                best = int(overlaps.argmax())
                if overlaps[best] > self.iou_threshold:
                    total = total + overlaps[best] + found["scores"][same[best]]
        return total

    def changed(self, change: Callable[[Tensor], Tensor]) -> DetectionScore:
        """See `Target.changed`."""
        boxes, labels = changed_items(self.boxes, change), changed_items(self.labels, change)
        return DetectionScore(boxes, labels, self.iou_threshold)
