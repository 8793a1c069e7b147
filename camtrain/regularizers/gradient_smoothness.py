"""A penalty on the noise of the input gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from camtrain.gradients import BatchNormStatistics
from camtrain.messages import checked_number
from camtrain.regularizers.input_gradient_regularizer import InputGradientRegularizer
from camtrain.regularizers.regularizer import Penalty
from camtrain.regularizers.total_variation import total_variation


class GradientSmoothness(InputGradientRegularizer):
    """Penalizes the differences of the input gradient between neighboring pixels, relative to its size.

        E_i = TV(δ_i) / ‖δ_i‖₁

    E_i is in [0, 4]; white noise has about 2.8. TV is the anisotropic total variation, summed over the channels.

    Args:
        floor: The norm ‖δ_i‖₁ at or below which an image does not count.
        batch_norm_statistics: The statistics of BatchNorm while δ is taken: `batch`, or `running`, as at test time,
            which costs a second forward pass.

    Raises:
        ValueError: If `floor` is not positive and finite.

    Source:
        The penalty is camtrain's own; the total variation is from Rudin et al., 1992.

    Example:
        >>> GradientSmoothness()(torch.tensor([[[[1.0, 3.0]]]]), None).values
        tensor([0.5000])
    """

    def __init__(self, floor: float = 1e-8, batch_norm_statistics: BatchNormStatistics = "batch") -> None:
        super().__init__(batch_norm_statistics)
        self.floor = checked_number("floor", floor, above=0)

    def forward(
        self,
        gradients: Tensor,
        guided_gradients: Tensor | None,
        *,
        boxes: list[Tensor] | None = None,
        masks: Tensor | None = None,
    ) -> Penalty:
        """See `InputGradientRegularizer`."""
        size = gradients.abs().flatten(1).sum(dim=1)
        alive = size > self.floor
        return Penalty(total_variation(gradients) / torch.where(alive, size, 1.0), alive)
