"""What every score of a map against an annotated region shares: who is counted, and how it adds up."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from camtrain.metrics.additive_score import AdditiveScore
from camtrain.regions import Annotation, regions


class RegionScore(AdditiveScore):
    """Mean over images of a score in [0, 1] that compares a map with the region of the objects.

    A subclass overrides `scores`. Images without annotation (no box, or a mask that is nowhere true) are not counted.
    A map that is zero everywhere is counted with score 0: a map that shows nothing localizes nothing; leaving it out
    would reward a method for failing on the hard images. Its share is `flat_share`.

    `compute()` gives the mean score, NaN if no image was counted. The properties below speak of the images that this
    process has seen; under DDP, read them inside `with metric.sync_context():`.

    Args:
        kwargs: passed on to `torchmetrics.Metric`.
    """

    higher_is_better = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(row_length=5, **kwargs)

    @abstractmethod
    def scores(self, cams: Tensor, regions: Tensor) -> Tensor:
        """(N,) scores of maps (N, H, W) against regions (N, H, W), NaN where a region is empty."""

    def rows(self, cams: Tensor, annotation: Annotation) -> Tensor:
        """[score, 1, 0, whether the map is zero everywhere, share of the image] of an image, [0, 0, 1, 0, 0] without.

        Args:
            cams: (N, H, W) maps at the size of the images.
            annotation: boxes, one (M_i, 4) tensor per image (xyxy pixels, half-open; their union counts), or
                (N, H, W) bool masks.

        Returns:
            (N, 5).

        Raises:
            ValueError: if shapes do not fit, a map holds NaN or values that this score is not defined for, or a box is
                bad.
        """
        truth = regions_of(cams, annotation)
        covered = truth.flatten(1).sum(dim=1)
        known = covered > 0
        # All maps go through the check of `scores`: a NaN counts as an error also where nobody knows the object.
        scores = torch.where(known, self.scores(cams, truth), 0.0)
        flat = known & (cams.flatten(1).amin(dim=1) == 0) & (cams.flatten(1).amax(dim=1) == 0)
        area = covered.double() / (truth.shape[1] * truth.shape[2])
        return torch.stack([column.double() for column in (scores, known, ~known, flat, area)], dim=1)

    def value(self, total: Tensor) -> Tensor:
        """The mean score of the counted images."""
        return total[..., 0] / total[..., 1]

    @property
    def counted(self) -> Tensor:
        """Images with annotation, 0-dim int64."""
        return self.total[1].long()

    @property
    def without_annotation(self) -> Tensor:
        """Images that were not counted for want of annotation, 0-dim int64."""
        return self.total[2].long()

    @property
    def flat(self) -> Tensor:
        """Counted images whose map is zero everywhere, 0-dim int64."""
        return self.total[3].long()

    @property
    def score(self) -> Tensor:
        """Mean score over the images counted so far, 0-dim."""
        return self.value(self.total).float()

    @property
    def area(self) -> Tensor:
        """Mean share of the image that the region covers: the score of a map that is 1 everywhere, 0-dim."""
        return (self.total[4] / self.total[1]).float()

    @property
    def flat_share(self) -> Tensor:
        """Share of the counted images whose map is zero everywhere, 0-dim."""
        return (self.total[3] / self.total[1]).float()


def regions_of(cams: Tensor, annotation: Annotation) -> Tensor:
    """The annotated pixels of each map, (N, H, W) bool, on its device.

    Raises:
        ValueError: if the maps are not (N, H, W), or the annotation is bad or of another number of images.
    """
    if cams.dim() != 3:
        raise ValueError(f"`cams`: expected maps of shape (N, H, W), got {tuple(cams.shape)}")
    truth = regions(annotation, (int(cams.shape[1]), int(cams.shape[2]))).to(cams.device)
    if len(truth) != len(cams):
        raise ValueError(f"`annotation`: expected that of {len(cams)} images, got {len(truth)}")
    return truth


def check_maps(cams: Tensor, regions: Tensor, low: float, high: float, remedy: str) -> None:
    """Say what is wrong with maps that a score is not defined for.

    Args:
        cams: (N, H, W) maps.
        regions: (N, H, W) bool.
        low: smallest allowed value.
        high: largest allowed value.
        remedy: what to do about values outside, the end of the message.

    Raises:
        ValueError: if shapes differ, `regions` is not bool, or a map holds NaN or a value outside [low, high].
    """
    if cams.dim() != 3 or not cams.is_floating_point():
        raise ValueError(f"`cams`: expected floating-point maps (N, H, W), got {cams.dtype} {tuple(cams.shape)}")
    if regions.shape != cams.shape or regions.dtype != torch.bool:
        raise ValueError(
            f"`regions`: expected bool of shape {tuple(cams.shape)}, got {regions.dtype} {tuple(regions.shape)}"
        )
    if cams.numel() == 0:
        return
    smallest, largest = torch.stack(torch.aminmax(cams)).tolist()
    if smallest != smallest:
        raise ValueError("`cams`: expected finite values, got NaN")
    if smallest < low or largest > high:
        raise ValueError(f"`cams`: expected values in [{low:g}, {high:g}], got {smallest:g} to {largest:g}; {remedy}")
