"""The area under the probability of the class while an image is changed step by step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from camtrain.messages import positive_integer
from camtrain.metrics.additive_score import AdditiveScore
from camtrain.metrics.checked import check_finite
from camtrain.metrics.probabilities import checked_probabilities


def area_under_curve(curves: Tensor) -> Tensor:
    """The area under each curve of equally spaced points over [0, 1], by the trapezoidal rule.

        AUC = 1/T (c_0/2 + c_1 + ... + c_(T-1) + c_T/2)

    Args:
        curves: (..., T + 1), at least two points.

    Returns:
        (...).

    Raises:
        TypeError: If `curves` is no tensor.
        ValueError: If `curves` is not floating point, a curve has fewer than two points, or a value is not finite.

    Source:
        Petsiuk et al., RISE, BMVC 2018, arXiv 1806.07421, section 4.2, and its code.

    Example:
        >>> area_under_curve(torch.tensor([[0.0, 1.0], [0.5, 0.5]]))
        tensor([0.5000, 0.5000])
    """
    if not isinstance(curves, Tensor):
        raise TypeError(f"`curves`: expected a tensor of shape (..., T + 1), got {type(curves).__name__}")
    if curves.dim() == 0 or curves.shape[-1] < 2:
        raise ValueError(f"`curves`: expected at least two points, got {tuple(curves.shape)}")
    if not curves.is_floating_point():
        raise ValueError(f"`curves`: expected a floating-point tensor, got {curves.dtype}")
    check_finite("curves", curves)
    return area(curves)


def area(curves: Tensor) -> Tensor:
    """The same without checks: NaN for the mean curve of no images."""
    return torch.trapezoid(curves, dim=-1) / (curves.shape[-1] - 1)


class AreaUnderCurve(AdditiveScore):
    """The mean area under curves of T + 1 equally spaced points, each a probability of the explained class.

    `compute()` returns the mean area; the property `curve` is the mean curve, for a plot. A subclass defines `update`
    and `rows`, and calls `rows_of_curves`.

    Args:
        num_steps: T, the number of steps.
        kwargs: Passed on to `torchmetrics.Metric`.

    Raises:
        ValueError: If `num_steps` is no positive integer.

    Example:
        >>> from camtrain.metrics import InsertionAUC
        >>> isinstance(InsertionAUC(num_steps=28), AreaUnderCurve)
        True
    """

    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    def __init__(self, num_steps: int, **kwargs: Any) -> None:
        super().__init__(row_length=positive_integer("num_steps", num_steps) + 2, **kwargs)
        self.num_steps = num_steps

    def rows_of_curves(self, name: str, curves: Tensor) -> Tensor:
        """[curve, 1] of each image, (N, T + 2), from curves (N, T + 1); `name` is the argument's, for messages."""
        curves = checked_probabilities(name, curves, f"N, {self.num_steps + 1}")
        return torch.cat([curves, torch.ones_like(curves[:, :1])], dim=1)

    def value(self, total: Tensor) -> Tensor:
        """The mean area."""
        return area(self.mean_curve(total))

    def mean_curve(self, total: Tensor) -> Tensor:
        """The mean curve of sums of rows, (..., S) to (..., T + 1)."""
        return total[..., :-1] / total[..., -1:]

    @property
    def curve(self) -> Tensor:
        """The mean curve of all images counted so far, (T + 1,) float32."""
        return self.mean_curve(self.total).float()
