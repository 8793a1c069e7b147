"""The area under the probability of the class along a way from one image to another."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from camtrain.metrics.additive_score import AdditiveScore
from camtrain.metrics.probabilities import checked_probabilities
from camtrain.positive_integer import positive_integer


def area_under_curve(curves: Tensor) -> Tensor:
    """The area under each curve of equally spaced points over [0, 1], by the trapezoidal rule.

        AUC = 1/T (c_0/2 + c_1 + ... + c_(T-1) + c_T/2)

    Args:
        curves: (..., T + 1), with at least two points.

    Returns:
        (...).

    Raises:
        ValueError: if a curve has a single point.

    Source:
        Petsiuk et al., RISE, BMVC 2018, arXiv 1806.07421, section 4.2, and its code.

    Example:
        >>> area_under_curve(torch.tensor([[0.0, 1.0], [0.5, 0.5]]))
        tensor([0.5000, 0.5000])
    """
    if curves.shape[-1] < 2:
        raise ValueError(f"`curves`: expected at least two points, got {tuple(curves.shape)}")
    return torch.trapezoid(curves, dim=-1) / (curves.shape[-1] - 1)


class AreaUnderCurve(AdditiveScore):
    """Mean area under curves of T + 1 equally spaced points, each a probability of the explained class.

    `compute()` gives the area; the mean curve, for a plot, is `curve`.

    Args:
        num_steps: T.
        kwargs: passed on to `torchmetrics.Metric`.

    Raises:
        ValueError: if `num_steps` is no positive integer.
    """

    def __init__(self, num_steps: int, **kwargs: Any) -> None:
        super().__init__(row_length=positive_integer("num_steps", num_steps) + 2, **kwargs)
        self.num_steps = num_steps

    def rows(self, curves: Tensor) -> Tensor:
        """[curve, 1] of each image, (N, T + 2).

        Args:
            curves: (N, T + 1) probabilities.

        Raises:
            ValueError: if they are no probabilities, or have another number of points.
        """
        if curves.dim() != 2 or curves.shape[1] != self.num_steps + 1:
            raise ValueError(f"`curves`: expected (N, {self.num_steps + 1}), got {tuple(curves.shape)}")
        curves = checked_probabilities("curves", curves)
        return torch.cat([curves, torch.ones_like(curves[:, :1])], dim=1)

    def value(self, total: Tensor) -> Tensor:
        """The mean area."""
        return area_under_curve(self.mean_curve(total))

    def mean_curve(self, total: Tensor) -> Tensor:
        """The mean curve of sums of rows, (..., T + 1)."""
        return total[..., :-1] / total[..., -1:]

    @property
    def curve(self) -> Tensor:
        """The mean curve of all images counted so far, (T + 1,) float32."""
        return self.mean_curve(self.total).float()
