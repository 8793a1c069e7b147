"""What every score of a map against an annotated region shares: who is counted, and how it adds up."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from camtrain.metrics.regions import Annotation, regions


class RegionScore(Metric):
    """Mean over images of a score in [0, 1] that compares a map with the region of the objects.

    A subclass overrides `_scores`. Images without annotation (no box, or a mask that is nowhere true) are not counted.
    A map that is zero everywhere is counted with score 0: a map that shows nothing localizes nothing; leaving it out
    would reward a method for failing on the hard images. Its share is `flat_share`.

    `compute()` gives the mean score, NaN if no image was counted. The properties below speak of the images that this
    process has seen; under DDP, read them inside `with metric.sync_context():`.

    Attributes:
        counted: 0-dim int64, images with annotation.
        without_annotation: 0-dim int64, images that were not counted for want of one.
        flat: 0-dim int64, counted images whose map is zero everywhere.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    counted: Tensor
    without_annotation: Tensor
    flat: Tensor
    score_total: Tensor
    area_total: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in ("counted", "without_annotation", "flat"):
            self.add_state(name, default=torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        for name in ("score_total", "area_total"):
            self.add_state(name, default=torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    @abstractmethod
    def _scores(self, cams: Tensor, regions: Tensor) -> Tensor:
        """(N,) scores of maps (N, H, W) against regions (N, H, W) that are true somewhere."""

    def update(self, cams: Tensor, annotation: Annotation) -> None:
        """Count a batch.

        Args:
            cams: (N, H, W) maps at the size of the images.
            annotation: boxes, one (M_i, 4) tensor per image (xyxy pixels, half-open; their union counts), or
                (N, H, W) bool masks.

        Raises:
            ValueError: if shapes do not fit, a map holds NaN or values that this score is not defined for, or a box is
                bad.
        """
        if cams.dim() != 3:
            raise ValueError(f"`cams`: expected maps of shape (N, H, W), got {tuple(cams.shape)}")
        truth = regions(annotation, (int(cams.shape[1]), int(cams.shape[2]))).to(cams.device)
        known = truth.flatten(1).any(dim=1)
        # All maps go through the check of `_scores`: a NaN counts as an error also where nobody knows the object.
        scores = self._scores(cams, truth)[known]
        self.counted += known.sum().to(self.counted)
        self.without_annotation += (~known).sum().to(self.counted)
        self.flat += (known & (cams == 0).flatten(1).all(dim=1)).sum().to(self.flat)
        self.score_total += scores.sum().to(self.score_total)
        self.area_total += truth[known].flatten(1).float().mean(dim=1).sum().to(self.area_total)

    def compute(self) -> Tensor:
        """Mean score over the counted images (0-dim float32), NaN if there are none."""
        return self.score

    @property
    def score(self) -> Tensor:
        """Mean score over the images counted so far, 0-dim."""
        return (self.score_total / self.counted).float()

    @property
    def area(self) -> Tensor:
        """Mean share of the image that the region covers: the score of a map that is 1 everywhere, 0-dim."""
        return (self.area_total / self.counted).float()

    @property
    def flat_share(self) -> Tensor:
        """Share of the counted images whose map is zero everywhere, 0-dim."""
        return (self.flat / self.counted).float()


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
