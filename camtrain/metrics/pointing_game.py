"""Whether the maximum of a map lies on the object."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from camtrain.metrics.additive_score import AdditiveScore
from camtrain.metrics.region_score import regions_of
from camtrain.positive_integer import positive_integer
from camtrain.regions import Annotation


def pointing_hits(cams: Tensor, regions: Tensor, tolerance: float = 15.0) -> Tensor:
    """Whether some pixel of the object is nearer to the maximum of the map than the tolerance.

    Of several maxima the first one counts, row by row. A map that is the same everywhere points nowhere: a miss.

    Args:
        cams: (N, H, W) maps at the size of the images.
        regions: (N, H, W) bool, true on the object.
        tolerance: in pixels; at 0 the maximum itself has to lie on the object.

    Returns:
        (N,), 1 for a hit and 0 for a miss; NaN where the region is empty.

    Raises:
        ValueError: if a map holds NaN, or the shapes differ.

    Source:
        Zhang et al., Top-down Neural Attention by Excitation Backprop, ECCV 2016, arXiv 1608.00507, section 4.2; the
        region of acceptance, an open disk, is that of TorchRay.

    Example:
        >>> cam = torch.tensor([[[0.0, 0.2, 0.9, 0.0, 0.0]]])
        >>> end = torch.tensor([[[False, False, False, False, True]]])
        >>> pointing_hits(cam, end, tolerance=2), pointing_hits(cam, end, tolerance=3)
        (tensor([0.]), tensor([1.]))
    """
    if cams.dim() != 3 or regions.shape != cams.shape or regions.dtype != torch.bool:
        raise ValueError(
            f"`regions`: expected bool (N, H, W) like `cams`, {tuple(cams.shape)}, got {regions.dtype} "
            f"{tuple(regions.shape)}"
        )
    width = cams.shape[2]
    values = cams.flatten(1)
    if values.numel() == 0:
        return values.new_zeros(len(values), dtype=torch.float32)
    highest = values.amax(dim=1)
    if bool(highest.isnan().any()):
        raise ValueError("`cams`: expected finite values, got NaN")
    peaks = values.argmax(dim=1)
    rows = torch.arange(cams.shape[1], device=cams.device) - (peaks // width).unsqueeze(1)
    columns = torch.arange(width, device=cams.device) - (peaks % width).unsqueeze(1)
    distances = rows.square().unsqueeze(2) + columns.square().unsqueeze(1)
    accepted = (distances < tolerance**2) | (distances == 0)
    pointed = highest > values.amin(dim=1)
    hits = (accepted & regions).flatten(1).any(dim=1) & pointed
    return torch.where(regions.flatten(1).any(dim=1), hits.float(), torch.nan)


class PointingGame(AdditiveScore):
    """Share of maps whose maximum hits the object, per class and averaged over the classes; higher is better.

    See `pointing_hits` for what a hit is and its source. A class without an annotated image is left out of the mean.
    (TorchRay counts it as one that is always missed.)

    Args:
        num_classes: K; 1 pools all images.
        tolerance: in pixels; `None` is 15 pixels at 224, in proportion to the shorter side.
        kwargs: passed on to `torchmetrics.Metric`.

    Raises:
        ValueError: if `num_classes` is no positive integer, or the tolerance is negative.

    Example:
        >>> metric = PointingGame(num_classes=3, tolerance=0)
        >>> cams = torch.eye(4).flatten().view(1, 4, 4).repeat(3, 1, 1)
        >>> left, right = torch.tensor([[0.0, 0.0, 2.0, 4.0]]), torch.tensor([[2.0, 0.0, 4.0, 4.0]])
        >>> metric(cams, [left, left, right], torch.tensor([0, 0, 2]))  # class 0 always, class 2 never
        tensor(0.5000)
        >>> metric.accuracy
        tensor(0.6667)
    """

    higher_is_better = True

    def __init__(self, num_classes: int = 1, tolerance: float | None = None, **kwargs: Any) -> None:
        super().__init__(row_length=2 * positive_integer("num_classes", num_classes), **kwargs)
        if tolerance is not None and not tolerance >= 0:
            raise ValueError(f"`tolerance`: expected at least 0 pixels, got {tolerance!r}")
        self.num_classes = num_classes
        self.tolerance = tolerance

    def rows(self, cams: Tensor, annotation: Annotation, labels: Tensor | None = None) -> Tensor:
        """Hits and images of each class, (N, 2 K).

        Args:
            cams: (N, H, W) maps at the size of the images.
            annotation: boxes, one (M_i, 4) tensor per image, or (N, H, W) bool masks.
            labels: (N,) classes of the objects; `None`, or one class only, pools all images.

        Raises:
            ValueError: as `pointing_hits`, or if a label is out of range.
        """
        shorter = min(cams.shape[-2:])
        tolerance = 15 * shorter / 224 if self.tolerance is None else self.tolerance
        hits = pointing_hits(cams, regions_of(cams, annotation), tolerance)
        counted = ~hits.isnan()
        classes = self._classes(labels, len(cams)).to(cams.device)
        one_hot = torch.nn.functional.one_hot(classes, self.num_classes).double()
        per_image = torch.stack([hits.nan_to_num(0.0), counted.float()], dim=1).double()
        return (per_image.unsqueeze(2) * one_hot.unsqueeze(1)).flatten(1)

    def _classes(self, labels: Tensor | None, images: int) -> Tensor:
        if labels is None or self.num_classes == 1:
            return torch.zeros(images, dtype=torch.long)
        if labels.shape != (images,) or (images and not 0 <= int(labels.min()) <= int(labels.max()) < self.num_classes):
            raise ValueError(f"`labels`: expected {images} classes from 0 to {self.num_classes - 1}, got {labels}")
        return labels.long()

    def value(self, total: Tensor) -> Tensor:
        """The mean of the accuracies of the classes."""
        hits, images = total.reshape(*total.shape[:-1], 2, self.num_classes).unbind(dim=-2)
        return (hits / images).nanmean(dim=-1)

    @property
    def counted(self) -> Tensor:
        """Images with annotation, 0-dim int64."""
        return self.total[self.num_classes :].sum().long()

    @property
    def accuracy(self) -> Tensor:
        """Share of hits over all images, whatever their class, 0-dim."""
        hits, images = self.total.reshape(2, self.num_classes).sum(dim=-1)
        accuracy: Tensor = hits / images
        return accuracy.float()
