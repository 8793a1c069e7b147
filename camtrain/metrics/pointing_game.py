"""Whether the maximum of a map lies on the object."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from camtrain.messages import checked_number, positive_integer
from camtrain.metrics.additive_score import AdditiveScore
from camtrain.metrics.checked import check_finite, check_length, check_shape, checked_tensor
from camtrain.metrics.region_score import regions_of
from camtrain.regions import Annotation

_PIXELS = "a finite number of at least 0 pixels"


def pointing_hits(cams: Tensor, regions: Tensor, tolerance: float = 15.0) -> Tensor:
    """Whether some pixel of the object is nearer to the maximum of the map than the tolerance.

    If the maximum occurs several times, the first occurrence in row order counts. A constant map points nowhere and is
    a miss.

    Args:
        cams: (N, H, W) maps at the size of the images.
        regions: (N, H, W) bool, true on the object.
        tolerance: The distance in pixels; at 0 the maximum itself must lie on the object.

    Returns:
        (N,), 1 for a hit and 0 for a miss; NaN where the region is empty.

    Raises:
        TypeError: If the maps or regions are no tensors, or the tolerance is no number.
        ValueError: If a map holds NaN or infinity, the shapes differ, or the tolerance is negative or not finite.

    Source:
        Zhang et al., Top-down Neural Attention by Excitation Backprop, ECCV 2016, arXiv 1608.00507, section 4.2. The
        region of acceptance, an open disk, is that of TorchRay.

    Example:
        >>> cam = torch.tensor([[[0.0, 0.2, 0.9, 0.0, 0.0]]])
        >>> end = torch.tensor([[[False, False, False, False, True]]])
        >>> pointing_hits(cam, end, tolerance=2), pointing_hits(cam, end, tolerance=3)
        (tensor([0.]), tensor([1.]))
    """
    maps, truth = checked_tensor("cams", cams, "N, H, W"), checked_tensor("regions", regions, "N, H, W", "bool")
    check_shape("regions", truth, "cams", maps)
    tolerance = checked_number("tolerance", tolerance, _PIXELS, at_least=0)
    width = maps.shape[2]
    values = maps.flatten(1)
    if values.numel() == 0:
        return values.new_zeros(len(values), dtype=torch.float32)
    check_finite("cams", maps)
    highest = values.amax(dim=1)
    peaks = values.argmax(dim=1)
    rows = torch.arange(maps.shape[1], device=maps.device) - (peaks // width).unsqueeze(1)
    columns = torch.arange(width, device=maps.device) - (peaks % width).unsqueeze(1)
    distances = rows.square().unsqueeze(2) + columns.square().unsqueeze(1)
    accepted = (distances < tolerance**2) | (distances == 0)
    pointed = highest > values.amin(dim=1)
    hits = (accepted & truth).flatten(1).any(dim=1) & pointed
    return torch.where(truth.flatten(1).any(dim=1), hits.float(), torch.nan)


class PointingGame(AdditiveScore):
    """The fraction of maps whose maximum hits the object, per class, averaged over the classes; higher is better.

    See `pointing_hits` for the definition of a hit and its source. An image without annotation is not counted, and a
    class without annotated images is left out of the mean. (TorchRay counts such a class as always missed.)

    Args:
        num_classes: K, the number of classes; 1 pools all images.
        tolerance: The distance in pixels that counts as a hit; `None` is 15 pixels at 224, in proportion to the shorter
            side.
        kwargs: Passed on to `torchmetrics.Metric`.

    Raises:
        TypeError: If the tolerance is no number.
        ValueError: If `num_classes` is no positive integer, or the tolerance is negative or infinite.

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
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    def __init__(self, num_classes: int = 1, tolerance: float | None = None, **kwargs: Any) -> None:
        if tolerance is not None:
            tolerance = checked_number("tolerance", tolerance, _PIXELS, at_least=0)
        row_length = 2 * positive_integer("num_classes", num_classes)
        super().__init__(row_length, settings=[None if tolerance is None else float(tolerance)], **kwargs)
        self.num_classes = num_classes
        self.tolerance = tolerance

    def update(self, cams: Tensor, annotation: Annotation, labels: Tensor | None = None) -> None:
        """Count a batch.

        Args:
            cams: (N, H, W) maps at the size of the images.
            annotation: Boxes, one (M_i, 4) tensor per image (xyxy pixels, half-open; their union counts), or (N, H, W)
                bool masks.
            labels: (N,) classes of the objects, integers from 0 to K - 1; ignored if K = 1. `None` counts every image
                as class 0, which pools them.

        Raises:
            TypeError: If maps or labels are no tensors, or the annotation is neither a tensor nor a list of tensors.
            ValueError: If shapes or numbers of images differ, a map holds NaN or infinity, a label is out of range, or
                a box is bad (see `camtrain.metrics.box_regions`).
        """
        super().update(cams, annotation, labels)

    def rows(self, cams: Tensor, annotation: Annotation, labels: Tensor | None = None) -> Tensor:
        """The hits and the images of each class, (N, 2 K); the arguments are those of `update`."""
        truth = regions_of(cams, annotation)
        tolerance = 15 * min(cams.shape[-2:]) / 224 if self.tolerance is None else self.tolerance
        hits = pointing_hits(cams, truth, tolerance)
        counted = ~hits.isnan()
        one_hot = torch.nn.functional.one_hot(self._classes(labels, cams), self.num_classes).double()
        per_image = torch.stack([hits.nan_to_num(0.0), counted.float()], dim=1).double()
        return (per_image.unsqueeze(2) * one_hot.unsqueeze(1)).flatten(1)

    def _classes(self, labels: Tensor | None, cams: Tensor) -> Tensor:
        if labels is None or self.num_classes == 1:
            return torch.zeros(len(cams), dtype=torch.long, device=cams.device)
        classes = checked_tensor("labels", labels, "N", "integer").long().to(cams.device)
        check_length("labels", classes, "cams", cams)
        if len(classes) and not 0 <= int(classes.min()) <= int(classes.max()) < self.num_classes:
            raise ValueError(
                f"`labels`: expected classes from 0 to {self.num_classes - 1}, got {int(classes.min())} to "
                f"{int(classes.max())}"
            )
        return classes

    def value(self, total: Tensor) -> Tensor:
        """The mean of the accuracies of the classes."""
        hits, images = total.reshape(*total.shape[:-1], 2, self.num_classes).unbind(dim=-2)
        return (hits / images).nanmean(dim=-1)

    @property
    def counted(self) -> Tensor:
        """The number of images with annotation, 0-dim int64."""
        return self.total[self.num_classes :].sum().long()

    @property
    def accuracy(self) -> Tensor:
        """The fraction of hits over all images, whatever their class, 0-dim."""
        hits, images = self.total.reshape(2, self.num_classes).sum(dim=-1)
        accuracy: Tensor = hits / images
        return accuracy.float()
