"""The base of metrics that compare a map with the region of the object: which images count, and how scores add up."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from camtrain.metrics.additive_score import AdditiveScore
from camtrain.metrics.checked import check_length, checked_tensor
from camtrain.regions import Annotation, regions


class RegionScore(AdditiveScore):
    """The mean over images of a score in [0, 1] that compares a map with the region of the objects; higher is better.

    A subclass defines `scores`. An image without annotation (no box, or a mask that is false everywhere) is not
    counted. A map that is zero everywhere counts with score 0, because a map that shows nothing locates nothing, and
    leaving it out would reward a method for failing on hard images; `flat_share` is the fraction of such maps.

    `compute()` returns the mean score, NaN if no image was counted. The properties below describe the images that this
    process has seen; under DDP, read them inside `with metric.sync_context():`.

    Args:
        kwargs: Passed on to `AdditiveScore` and `torchmetrics.Metric`.

    Example:
        >>> class MeanInside(RegionScore):
        ...     def scores(self, cams: Tensor, regions: Tensor) -> Tensor:
        ...         return (cams * regions).sum(dim=(1, 2)) / regions.sum(dim=(1, 2))
        >>> MeanInside()(torch.eye(4).unsqueeze(0), [torch.tensor([[0.0, 0.0, 2.0, 2.0]])])
        tensor(0.5000)
    """

    higher_is_better = True
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(row_length=5, **kwargs)

    def update(self, cams: Tensor, annotation: Annotation) -> None:
        """Count a batch.

        Args:
            cams: (N, H, W) maps at the size of the images.
            annotation: Boxes, one (M_i, 4) tensor per image (xyxy pixels, half-open; their union counts), or (N, H, W)
                bool masks.

        Raises:
            TypeError: If the maps are no tensor, or the annotation is neither a tensor nor a list of tensors.
            ValueError: If shapes or numbers of images differ, a map holds NaN or values that this score is not defined
                for, or a box is bad (see `camtrain.metrics.box_regions`).
        """
        super().update(cams, annotation)

    @abstractmethod
    def scores(self, cams: Tensor, regions: Tensor) -> Tensor:
        """The scores (N,) of maps (N, H, W) against regions (N, H, W) bool; NaN where a region is empty."""

    def rows(self, cams: Tensor, annotation: Annotation) -> Tensor:
        """[score, 1, 0, map is zero, fraction covered] of an annotated image, [0, 0, 1, 0, 0] of another; (N, 5).

        The arguments are those of `update`.
        """
        truth = regions_of(cams, annotation)
        covered = truth.flatten(1).sum(dim=1)
        known = covered > 0
        # `scores` checks every map, so that a NaN is an error even in a map whose image has no annotation.
        scores = torch.where(known, self.scores(cams, truth), 0.0)
        flat = known & (cams.flatten(1).amin(dim=1) == 0) & (cams.flatten(1).amax(dim=1) == 0)
        area = covered.double() / (truth.shape[1] * truth.shape[2])
        return torch.stack([column.double() for column in (scores, known, ~known, flat, area)], dim=1)

    def value(self, total: Tensor) -> Tensor:
        """The mean score of the counted images."""
        return total[..., 0] / total[..., 1]

    @property
    def counted(self) -> Tensor:
        """The number of images with annotation, 0-dim int64."""
        return self.total[1].long()

    @property
    def without_annotation(self) -> Tensor:
        """The number of images that are not counted because they have no annotation, 0-dim int64."""
        return self.total[2].long()

    @property
    def flat(self) -> Tensor:
        """The number of counted images whose map is zero everywhere, 0-dim int64."""
        return self.total[3].long()

    @property
    def score(self) -> Tensor:
        """The mean score of the images counted so far, 0-dim."""
        return self.value(self.total).float()

    @property
    def area(self) -> Tensor:
        """The mean fraction of the image that the region covers: the score of a map that is 1 everywhere, 0-dim."""
        return (self.total[4] / self.total[1]).float()

    @property
    def flat_share(self) -> Tensor:
        """The fraction of the counted images whose map is zero everywhere, 0-dim."""
        return (self.total[3] / self.total[1]).float()


def regions_of(cams: Tensor, annotation: Annotation) -> Tensor:
    """The annotated pixels of each map, (N, H, W) bool, on the device of the maps.

    Raises:
        TypeError: If the maps are no tensor, or the annotation is neither a tensor nor a list of tensors.
        ValueError: If the maps are not (N, H, W), or the annotation is bad or describes another number of images.
    """
    maps = checked_tensor("cams", cams, "N, H, W")
    truth = regions(annotation, (int(maps.shape[1]), int(maps.shape[2]))).to(maps.device)
    check_length("annotation", truth, "cams", maps)
    return truth
