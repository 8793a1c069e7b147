"""How sure a score is: intervals from drawing the images anew."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from camtrain.metrics import AdditiveScore
from camtrain.positive_integer import positive_integer


class Interval(NamedTuple):
    """A score and where it lies.

    Attributes:
        value: of the images themselves.
        low: lower end; NaN where it is not known.
        high: upper end.
    """

    value: float
    low: float
    high: float


def resampling_weights(num_images: int, num_resamples: int = 1000, seed: int = 0) -> Tensor:
    """How often each image is drawn in each of many samples with replacement, of as many images as there are.

    Args:
        num_images: N.
        num_resamples: R.
        seed: of the draws.

    Returns:
        (R, N) float64, each row of which sums to N.

    Raises:
        ValueError: if `num_resamples` is no positive integer.

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


def score_interval(score: AdditiveScore, rows: Tensor, weights: Tensor, level: float = 0.95) -> Interval:
    """A score with its percentile bootstrap interval.

    The score of a resample is `value(Σ_i w_i row_i)`: no image is looked at again. Scores that choose something on the
    whole set, as `MaxBoxAccuracy` does its threshold, choose it anew on each resample.

    Args:
        score: says what rows are worth; it is not changed.
        rows: (N, S), of N images.
        weights: (R, N), of `resampling_weights`. The same ones for two scores make their difference a paired one.
        level: share of the resamples that lie in the interval.

    Returns:
        The score of the images, with the interval. Resamples without a counted image are left out.

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3.

    Example:
        >>> from camtrain.metrics import LocalizationIoU
        >>> rows = LocalizationIoU().rows(torch.eye(4).expand(8, 4, 4), [torch.tensor([[0.0, 0.0, 2.0, 2.0]])] * 8)
        >>> score_interval(LocalizationIoU(), rows, resampling_weights(8))  # all images are alike
        Interval(value=0.333..., low=0.333..., high=0.333...)
    """
    return _interval(score.value(rows.double().sum(dim=0)), score.value(weights @ rows.double()), level)


def difference_interval(
    score: AdditiveScore, rows: Tensor, other_rows: Tensor, weights: Tensor, level: float = 0.95
) -> Interval:
    """By how much a score is higher with `other_rows` of the same images, with its paired bootstrap interval.

    Both sides of a resample hold the same images, so that what makes some images harder than others cancels.

    Args:
        score: says what rows are worth.
        rows: (N, S), of N images.
        other_rows: (N, S), of the same images in the same order.
        weights: (R, N), of `resampling_weights`.
        level: share of the resamples that lie in the interval.

    Raises:
        ValueError: if the rows are not of as many images.
    """
    if rows.shape != other_rows.shape:
        raise ValueError(f"`other_rows`: expected {tuple(rows.shape)}, got {tuple(other_rows.shape)}")
    rows, other_rows = rows.double(), other_rows.double()
    value = score.value(other_rows.sum(dim=0)) - score.value(rows.sum(dim=0))
    return _interval(value, score.value(weights @ other_rows) - score.value(weights @ rows), level)


def _interval(value: Tensor, resampled: Tensor, level: float) -> Interval:
    if not 0 < level < 1:
        raise ValueError(f"`level`: expected a number between 0 and 1, got {level!r}")
    known = resampled[resampled.isfinite()]
    if len(known) == 0:
        return Interval(float(value), float("nan"), float("nan"))
    tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=known.dtype)
    low, high = known.quantile(tails).tolist()
    return Interval(float(value), low, high)
