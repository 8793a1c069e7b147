"""How often the box around the strongest part of a map matches that of the object, at the best threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import box_iou

from camtrain.metrics.additive_score import AdditiveScore
from camtrain.metrics.checked import check_length, checked_tensor, checked_unit_maps
from camtrain.metrics.component_boxes import ComponentBoxes, Integers, component_boxes
from camtrain.metrics.tight_box import tight_box
from camtrain.regions import Annotation, checked_boxes, regions

Version = Literal["v1", "v2"]
THRESHOLDS = 255
_IOU_LEVELS: dict[str, tuple[float, ...]] = {"v1": (0.5,), "v2": (0.3, 0.5, 0.7)}


def box_ious(cam: Tensor, boxes: Tensor, *, largest: bool) -> Tensor:
    """The best IoU of a box around a component of {map > threshold} with a box of the object, at every threshold.

    The map is quantized to 256 levels, as an image with one byte per pixel. The thresholds are k/255 of its largest
    value, for k from 0 to 254. On a map that reaches 1, a finer grid of thresholds would find no other components.

    Args:
        cam: (H, W) map in [0, 1].
        boxes: (M, 4) xyxy pixels, half-open; at least one.
        largest: Whether only the component with the most pixels counts, or any component.

    Returns:
        (255,) in [0, 1]; 0 where the map has no component, as for a map of zeros.

    Raises:
        TypeError: If an argument is no tensor.
        ValueError: If the map is not (H, W), there is no box, or a box is bad (see `camtrain.metrics.box_regions`).

    Example:
        >>> cam = torch.tensor([[0.0, 1.0, 0.5, 0.0]])
        >>> ious = box_ious(cam, torch.tensor([[1.0, 0.0, 2.0, 1.0]]), largest=True)
        >>> float(ious[0]), float(ious[254])
        (0.5, 1.0)
    """
    one = checked_tensor("cam", cam, "H, W")
    (of_image,) = checked_boxes("boxes", [boxes], (int(one.shape[0]), int(one.shape[1])))
    if len(of_image) == 0:
        raise ValueError("`boxes`: expected at least one box, got none")
    return _best_ious(one, of_image, largest=largest)


def box_hits(cams: Tensor, annotation: Annotation, iou_levels: Sequence[float], *, largest: bool) -> Tensor:
    """Whether the IoU of a box of each map with a box of the object reaches a level, at every threshold.

    Args:
        cams: (N, H, W) maps in [0, 1], at the size of the images.
        annotation: Boxes, one (M_i, 4) tensor per image (xyxy pixels, half-open); or (N, H, W) bool masks, each of
            which counts as the smallest box around its true pixels.
        iou_levels: L levels of IoU.
        largest: Whether only the component with the most pixels counts, or any component.

    Returns:
        (N, 255 L + 1) float64: for each level, 1 at the thresholds where it is reached (see `box_ious`); then 1 for an
        image with a box. The row of an image without a box is 0.

    Raises:
        TypeError: If the maps are no tensor, or the annotation is neither a tensor nor a list of tensors.
        ValueError: If shapes or numbers of images differ, a map holds NaN or leaves [0, 1], or a box is bad.
    """
    maps = checked_unit_maps("cams", cams)
    size = (int(maps.shape[1]), int(maps.shape[2]))
    if isinstance(annotation, Tensor):
        boxes = [tight_box(mask) for mask in regions(annotation, size).cpu()]
    else:
        boxes = checked_boxes("annotation", annotation, size)
    check_length("annotation", boxes, "cams", maps)
    rows = torch.zeros(len(maps), len(iou_levels) * THRESHOLDS + 1, dtype=torch.float64)
    levels = torch.tensor(iou_levels, dtype=torch.float64)
    for row, cam, of_image in zip(rows, maps, boxes, strict=True):
        if len(of_image):
            ious = _best_ious(cam, of_image, largest=largest)
            row[:-1] = (ious >= levels.unsqueeze(1)).flatten()
            row[-1] = 1
    return rows


def _best_ious(cam: Tensor, boxes: Tensor, *, largest: bool) -> Tensor:
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
    """The fraction of images on which a box of the map matches one of the object, at the best common threshold.

        v1: max_τ 1/N Σ_i 1[IoU(largest component of {map_i > τ}) ≥ 0.5]
        v2: mean over κ in (0.3, 0.5, 0.7) of max_τ 1/N Σ_i 1[IoU(any component of {map_i > τ}) ≥ κ]

    One threshold τ holds for the whole data set, and in v2 one for each κ: the best threshold of each image would
    flatter. The threshold is found on the images that are scored; the paper finds it on a validation set for its own
    tables. The property `thresholds` holds it. See `box_ious` for the boxes.

    Departures from the authors' code: the largest component is the one with the most pixels, not the one with the
    longest outline; holes are no components and have no box; boxes are half-open, where those of the code end one pixel
    later; and there are 255 thresholds, because the 1000 of the code take only 255 effective values on maps that reach
    1.

    Images without a box are not counted; `counted` is the number of the others.

    Args:
        version: "v1" for MaxBoxAcc, "v2" for MaxBoxAccV2.
        kwargs: Passed on to `torchmetrics.Metric`.

    Raises:
        ValueError: If there is no such version.

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
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    def __init__(self, version: Version = "v2", **kwargs: Any) -> None:
        if version not in list(_IOU_LEVELS):
            raise ValueError(f"`version`: expected 'v1' or 'v2', got {version!r}")
        self.iou_levels = _IOU_LEVELS[version]
        super().__init__(row_length=len(self.iou_levels) * THRESHOLDS + 1, **kwargs)
        self.version: Version = version

    def update(self, cams: Tensor, annotation: Annotation) -> None:
        """Count a batch.

        Args:
            cams: (N, H, W) maps in [0, 1], at the size of the images.
            annotation: Boxes, one (M_i, 4) tensor per image (xyxy pixels, half-open); or (N, H, W) bool masks, each of
                which counts as the smallest box around its true pixels.

        Raises:
            TypeError: If the maps are no tensor, or the annotation is neither a tensor nor a list of tensors.
            ValueError: If shapes or numbers of images differ, a map holds NaN or leaves [0, 1], or a box is bad (see
                `camtrain.metrics.box_regions`).
        """
        super().update(cams, annotation)

    def rows(self, cams: Tensor, annotation: Annotation) -> Tensor:
        """The hits at every IoU and threshold, and 1 for a counted image, (N, 255 · (1 or 3) + 1).

        The arguments are those of `update`.
        """
        return box_hits(cams, annotation, self.iou_levels, largest=self.version == "v1")

    def value(self, total: Tensor) -> Tensor:
        """The accuracy at the best threshold of each IoU, averaged over them."""
        return self._hits(total).amax(dim=-1).mean(dim=-1) / total[..., -1]

    def image_scores(self, rows: Tensor) -> Tensor:
        """The hits of each image at the threshold that is best for all images, averaged over the IoU levels."""
        rows = rows.double()
        best = self._hits(rows.sum(dim=0)).argmax(dim=-1)
        hits = self._hits(rows).gather(-1, best.expand(len(rows), -1).unsqueeze(-1)).squeeze(-1)
        return hits.mean(dim=-1) / rows[:, -1]

    @property
    def counted(self) -> Tensor:
        """The number of images with a box, 0-dim int64."""
        return self.total[-1].long()

    @property
    def thresholds(self) -> Tensor:
        """The best threshold of each IoU, as a fraction of the largest value of a map."""
        return self._hits(self.total).argmax(dim=-1) / THRESHOLDS

    def _hits(self, total: Tensor) -> Tensor:
        return total[..., :-1].reshape(*total.shape[:-1], len(self.iou_levels), THRESHOLDS)


def _largest(found: ComponentBoxes) -> Integers:
    """The component with the most pixels at each level; among equal ones, the first in row order."""
    x0, y0 = found.boxes[:, 0], found.boxes[:, 1]
    order: Integers = np.lexsort((x0, y0, -found.areas, found.levels))
    levels = found.levels[order]
    largest: Integers = order[np.append(True, levels[1:] != levels[:-1])[: len(order)]]
    return largest
