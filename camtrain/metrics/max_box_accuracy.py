"""How often the box around the strongest part of a map is that of the object, at the best threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import box_iou

from camtrain.metrics.additive_score import AdditiveScore
from camtrain.metrics.component_boxes import ComponentBoxes, Integers, component_boxes
from camtrain.metrics.tight_box import tight_box
from camtrain.regions import Annotation, regions

Version = Literal["v1", "v2"]
THRESHOLDS = 255
_IOU_LEVELS: dict[str, tuple[float, ...]] = {"v1": (0.5,), "v2": (0.3, 0.5, 0.7)}


def box_ious(cam: Tensor, boxes: Tensor, *, largest: bool) -> Tensor:
    """The best IoU of a box around a component of {map > threshold} with a box of the object, at every threshold.

    The map is cut into 256 steps, as an image of one byte per pixel, and the thresholds are k/255 of its largest value,
    k from 0 to 254. On a map that reaches 1, more thresholds would make no other components.

    Args:
        cam: (H, W) in [0, 1].
        boxes: (M, 4) xyxy pixels, half-open, at least one.
        largest: whether only the component with the most pixels counts, or any.

    Returns:
        (255,) in [0, 1]; 0 where the map has no component, as one of zeros, which a flat map becomes when normalized.

    Example:
        >>> cam = torch.tensor([[0.0, 1.0, 0.5, 0.0]])
        >>> ious = box_ious(cam, torch.tensor([[1.0, 0.0, 2.0, 1.0]]), largest=True)
        >>> float(ious[0]), float(ious[254])
        (0.5, 1.0)
    """
    full = cam.to(torch.promote_types(cam.dtype, torch.float32))
    pixels = (full.clamp(0, 1) * 255).to(torch.uint8).cpu().numpy()
    found = component_boxes(pixels)
    ious = box_iou(torch.from_numpy(found.boxes).double(), boxes.double().cpu()).amax(dim=1).numpy()
    chosen = _largest(found) if largest else slice(None)
    at_level = np.zeros(257)
    np.maximum.at(at_level, found.levels[chosen], ious[chosen])
    levels = np.arange(THRESHOLDS) * int(pixels.max(initial=0)) // THRESHOLDS + 1
    return torch.from_numpy(at_level[levels])


class MaxBoxAccuracy(AdditiveScore):
    """Share of images on which a box of the map matches one of the object, at the threshold that is best for all.

        v1: max_τ 1/N Σ_i 1[IoU(largest component of {map_i > τ}) ≥ 0.5]
        v2: mean over κ in (0.3, 0.5, 0.7) of max_τ 1/N Σ_i 1[IoU(any component of {map_i > τ}) ≥ κ]

    One threshold τ holds for the whole set (in v2 one for each κ): the best one of each image would flatter. It is
    found on the images that are scored; the paper finds it on a validation set for its own tables. `thresholds` says
    which. See `box_ious` for the boxes.

    Departures from the authors' code: the largest component is the one with the most pixels, and not with the largest
    outline; holes are no components, and have no box; boxes are half-open, where the code's reach one pixel further;
    and the code's 1000 thresholds, which differ at 255 places on maps that reach 1, are these 255.

    Images without a box are not counted; `counted` says how many are.

    Args:
        version: "v1", MaxBoxAcc, or "v2", MaxBoxAccV2.
        kwargs: passed on to `torchmetrics.Metric`.

    Raises:
        ValueError: for another version.

    Source:
        Choe et al., Evaluating Weakly Supervised Object Localization Methods Right, CVPR 2020, arXiv 2001.07437;
        version 2: Choe et al., Evaluation for Weakly Supervised Object Localization: Protocol, Metrics, and Datasets,
        TPAMI 2022, arXiv 2007.04178.

    Example:
        >>> metric = MaxBoxAccuracy("v1")
        >>> cams = torch.zeros(2, 8, 8)
        >>> cams[0, 2:6, 2:6], cams[1, :2, :2] = 1.0, 1.0
        >>> metric(cams, [torch.tensor([[2.0, 2.0, 6.0, 6.0]])] * 2)
        tensor(0.5000)
    """

    higher_is_better = True

    def __init__(self, version: Version = "v2", **kwargs: Any) -> None:
        if version not in _IOU_LEVELS:
            raise ValueError(f"`version`: expected 'v1' or 'v2', got {version!r}")
        self.iou_levels = _IOU_LEVELS[version]
        super().__init__(row_length=len(self.iou_levels) * THRESHOLDS + 1, **kwargs)
        self.version: Version = version

    def rows(self, cams: Tensor, boxes: Annotation) -> Tensor:
        """Hits at every IoU and threshold, and 1 for an image that is counted, (N, 255 · (1 or 3) + 1).

        Args:
            cams: (N, H, W) maps in [0, 1], at the size of the images.
            boxes: one (M_i, 4) tensor per image, xyxy pixels, half-open; or (N, H, W) bool masks, of which the smallest
                box around all that is true counts.

        Raises:
            ValueError: if maps and boxes are not of as many images, a map leaves [0, 1], or a box is bad.
        """
        if isinstance(boxes, Tensor):
            size = (int(cams.shape[-2]), int(cams.shape[-1]))
            boxes = [tight_box(mask) for mask in regions(boxes, size).cpu()]
        _check(cams, boxes)
        rows = torch.zeros(len(cams), len(self.total), dtype=torch.float64)
        levels = torch.tensor(self.iou_levels, dtype=torch.float64)
        for row, cam, of_image in zip(rows, cams, boxes, strict=True):
            if len(of_image):
                ious = box_ious(cam, of_image.as_subclass(Tensor), largest=self.version == "v1")
                row[:-1] = (ious >= levels.unsqueeze(1)).flatten()
                row[-1] = 1
        return rows

    def value(self, total: Tensor) -> Tensor:
        """The accuracy at the best threshold of each IoU, averaged over them."""
        return self._hits(total).amax(dim=-1).mean(dim=-1) / total[..., -1]

    def image_scores(self, rows: Tensor) -> Tensor:
        """Hits of each image at the threshold that is best for all, averaged over the IoU levels."""
        rows = rows.double()
        best = self._hits(rows.sum(dim=0)).argmax(dim=-1)
        hits = self._hits(rows).gather(-1, best.expand(len(rows), -1).unsqueeze(-1)).squeeze(-1)
        return hits.mean(dim=-1) / rows[:, -1]

    @property
    def counted(self) -> Tensor:
        """Images with a box, 0-dim int64."""
        return self.total[-1].long()

    @property
    def thresholds(self) -> Tensor:
        """The best threshold of each IoU, as a share of the largest value of a map."""
        return self._hits(self.total).argmax(dim=-1) / THRESHOLDS

    def _hits(self, total: Tensor) -> Tensor:
        return total[..., :-1].reshape(*total.shape[:-1], len(self.iou_levels), THRESHOLDS)


def _largest(found: ComponentBoxes) -> Integers:
    """Of each level, the component with the most pixels; of several, the one that begins first, row by row."""
    x0, y0 = found.boxes[:, 0], found.boxes[:, 1]
    order: Integers = np.lexsort((x0, y0, -found.areas, found.levels))
    levels = found.levels[order]
    largest: Integers = order[np.append(True, levels[1:] != levels[:-1])[: len(order)]]
    return largest


def _check(cams: Tensor, boxes: Sequence[Tensor]) -> None:
    if cams.dim() != 3 or len(boxes) != len(cams):
        raise ValueError(
            f"`boxes`: expected those of {len(cams)} maps (N, H, W), got {len(boxes)}, {tuple(cams.shape)}"
        )
    # The comparison is false for NaN, too.
    if not bool(((cams >= -1e-6) & (cams <= 1 + 1e-6)).all()):
        raise ValueError("`cams`: expected values in [0, 1]; normalize the maps first (camtrain.cams.normalize)")
    for index, of_image in enumerate(boxes):
        if of_image.dim() != 2 or of_image.shape[1] != 4:
            raise ValueError(f"`boxes`: expected (M, 4) for each image, got {tuple(of_image.shape)} for image {index}")
        if not bool((of_image.isfinite().all(dim=1) & (of_image[:, 2:] >= of_image[:, :2]).all(dim=1)).all()):
            raise ValueError(f"`boxes`: expected finite x0 ≤ x1 and y0 ≤ y1 (xyxy), got {of_image.tolist()}")
