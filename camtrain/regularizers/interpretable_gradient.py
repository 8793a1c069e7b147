"""The interpretable gradient regularizer."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from camtrain.gradients import BatchNormStatistics
from camtrain.messages import checked_number
from camtrain.regularizers.distances import DISTANCES, DistanceName
from camtrain.regularizers.input_gradient_regularizer import InputGradientRegularizer


class InterpretableGradient(InputGradientRegularizer):
    """Pulls the input gradient towards the guided-backpropagation gradient of the same loss.

        L_R = 1/n Σ_i E(δ_i, δ^G_i),   δ_i = n ∂L_C/∂x_i,   δ^G_i = detach(n ∂_G L_C/∂x_i)

    Departure from Algorithm 1: there δ carries the factor 1/n of the mean in L_C. Here it does not, so that MAE and MSE
    do not depend on the batch size. Cosine and histogram intersection are the same either way.

    Args:
        distance: E. `cosine`: 1 - cos, in [0, 2], the paper's best. `mae`: mean absolute error. `mse`: mean squared
            error. `histogram_intersection`: 1 - overlap of the normalized magnitudes, in [0, 1]. MAE and MSE scale with
            the gradients, which shrink as the classifier becomes confident; the other two do not.
        floor: For cosine and histogram intersection, the norm at or below which a gradient counts as zero. Such an
            image has distance 1 and no gradient. In float32 the direction of a smaller gradient is rounding noise.
        batch_norm_statistics: The statistics of BatchNorm while both gradients are taken: `batch`, as in Algorithm 1,
            or `running`, as at test time, which costs passes of its own (experiments/regularizer_cost).

    Raises:
        ValueError: If there is no such distance or statistics, or `floor` is not positive and finite.

    Source:
        Torres Figueroa et al., A Learning Paradigm for Interpretable Gradients, VISAPP 2024, arXiv 2404.15024.

    Example:
        >>> import torch
        >>> gradients = torch.tensor([[[[3.0, 4.0]]]])
        >>> InterpretableGradient()(gradients, gradients.clamp(max=3.5))
        tensor([0.0021])
    """

    needs_guided_gradient: ClassVar[bool] = True
    default_weight: ClassVar[float] = 7.5e-3

    def __init__(
        self,
        distance: DistanceName = "cosine",
        floor: float = 1e-8,
        batch_norm_statistics: BatchNormStatistics = "batch",
    ) -> None:
        super().__init__(batch_norm_statistics)
        if distance not in list(DISTANCES):
            raise ValueError(f"`distance`: expected one of {', '.join(DISTANCES)}, got {distance!r}")
        self.distance: DistanceName = distance
        self.floor = checked_number("floor", floor, above=0)

    def forward(
        self,
        gradients: Tensor,
        guided_gradients: Tensor | None,
        *,
        boxes: list[Tensor] | None = None,
        masks: Tensor | None = None,
    ) -> Tensor:
        """See `InputGradientRegularizer`. The guided gradients must be given."""
        if guided_gradients is None:
            raise ValueError("`guided_gradients`: expected (N, C, H, W), got None")
        return DISTANCES[self.distance](gradients.flatten(1), guided_gradients.flatten(1), self.floor)

    def extra_repr(self) -> str:
        """Settings, for printing."""
        return f"distance={self.distance!r}, floor={self.floor}, batch_norm_statistics={self.batch_norm_statistics!r}"
