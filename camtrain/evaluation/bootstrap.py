"""Confidence intervals of scores, from resampling the images (the bootstrap)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from camtrain.messages import checked_number, positive_integer
from camtrain.metrics import AdditiveScore


class ConfidenceInterval(NamedTuple):
    """A score with its confidence interval.

    Attributes:
        value: The score of the images themselves.
        low: The lower end of the interval; NaN if fewer than two images are counted, which have no spread.
        high: The upper end of the interval; NaN likewise.
    """

    value: float
    low: float
    high: float


def resampling_weights(num_images: int, num_resamples: int = 1000, seed: int = 0) -> Tensor:
    """The number of times that each image is drawn, for each of R samples of N images with replacement.

    Args:
        num_images: The number of images, N.
        num_resamples: The number of samples, R.
        seed: The seed of the draws.

    Returns:
        (R, N) float64 counts; each row sums to N.

    Raises:
        ValueError: If `num_resamples` is no positive integer.

    Example:
        >>> resampling_weights(4, num_resamples=2).sum(dim=1)
        tensor([4., 4.], dtype=torch.float64)
    """
    positive_integer("num_resamples", num_resamples)
    weights = torch.zeros(num_resamples, num_images, dtype=torch.float64)
    if num_images:
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randint(num_images, (num_resamples, num_images), generator=generator)
        weights.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=torch.float64))
    return weights


def score_interval(score: AdditiveScore, rows: Tensor, weights: Tensor, level: float = 0.95) -> ConfidenceInterval:
    """A score with its percentile bootstrap interval.

    The score of a resample is `value(Σ_i w_i row_i)`, so no image is evaluated again. A metric that chooses something
    on the whole set, as `MaxBoxAccuracy` chooses its threshold, chooses it anew on each resample.

    Args:
        score: The metric that computes the score of summed rows; it is not changed.
        rows: (N, S) rows of N images.
        weights: (R, N) counts, from `resampling_weights`.
        level: The fraction of the resamples that lie in the interval.

    Returns:
        The score of the images with the interval. Resamples without a counted image are left out.

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3.

    Example:
        >>> from camtrain.metrics import LocalizationIoU
        >>> rows = LocalizationIoU().rows(torch.eye(4).expand(8, 4, 4), [torch.tensor([[0.0, 0.0, 2.0, 2.0]])] * 8)
        >>> score_interval(LocalizationIoU(), rows, resampling_weights(8))  # all images are alike
        ConfidenceInterval(value=0.333..., low=0.333..., high=0.333...)
    """
    value, resampled = score.value(rows.double().sum(dim=0)), score.value(weights @ rows.double())
    return _interval(value, resampled, level, _counted(rows))


def combined_interval(
    score: AdditiveScore, signed_rows: Sequence[tuple[int, Tensor]], weights: Tensor, level: float = 0.95
) -> ConfidenceInterval:
    """A difference of scores, or of differences of them, with its paired bootstrap interval.

    All scores of a resample are of the same images, so that what makes an image hard cancels.

    Args:
        score: The metric that computes the score of summed rows; it is not changed.
        signed_rows: For each score, 1 or -1 and its (N, S) rows, of the same images in the same order.
        weights: (R, N) counts, from `resampling_weights`.
        level: The fraction of the resamples that lie in the interval.

    Raises:
        ValueError: If the tensors of rows differ in shape, or `level` is not between 0 and 1.
    """
    shape = signed_rows[0][1].shape
    for _, rows in signed_rows:
        if rows.shape != shape:
            raise ValueError(f"`signed_rows`: expected rows of one shape, got {tuple(shape)} and {tuple(rows.shape)}")
    values = [sign * score.value(rows.double().sum(dim=0)) for sign, rows in signed_rows]
    resampled = [sign * score.value(weights @ rows.double()) for sign, rows in signed_rows]
    counted = min(_counted(rows) for _, rows in signed_rows)
    return _interval(torch.stack(values).sum(dim=0), torch.stack(resampled).sum(dim=0), level, counted)


def mean_difference_interval(
    values: Tensor, other_values: Tensor, weights: Tensor, level: float = 0.95
) -> ConfidenceInterval:
    """The mean of `other_values` minus the mean of `values`, with its paired bootstrap interval.

    Args:
        values: (N,) numbers of N images.
        other_values: (N,) numbers of the same images in the same order.
        weights: (R, N) counts, from `resampling_weights`.
        level: The fraction of the resamples that lie in the interval.

    Example:
        >>> mean_difference_interval(torch.zeros(8), torch.ones(8), resampling_weights(8))
        ConfidenceInterval(value=1.0, low=1.0, high=1.0)
    """
    differences = other_values.double() - values.double()
    return _interval(differences.mean(), weights @ differences / weights.sum(dim=1), level, len(differences))


def _counted(rows: Tensor) -> int:
    """The number of images that are counted: those whose row adds something."""
    return int((rows != 0).any(dim=1).sum())


def _interval(value: Tensor, resampled: Tensor, level: float, num_images: int) -> ConfidenceInterval:
    checked_number("level", level, "a number between 0 and 1", above=0, below=1)
    known = resampled[resampled.isfinite()]
    if len(known) == 0 or num_images < 2:
        return ConfidenceInterval(float(value), float("nan"), float("nan"))
    tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=known.dtype)
    low, high = known.quantile(tails).tolist()
    return ConfidenceInterval(float(value), low, high)
