"""A penalty on the size of the input gradient."""

from __future__ import annotations

from torch import Tensor

from camtrain.regularizers.input_gradient_regularizer import InputGradientRegularizer


class GradientNorm(InputGradientRegularizer):
    """Penalizes the squared norm of the input gradient of the loss, so that the loss changes little around each image.

        E_i = ‖δ_i‖₂²

    Args:
        batch_norm_statistics: The statistics of BatchNorm while δ is taken: `batch`, or `running`, as at test time,
            which costs a second forward pass.

    Source:
        Drucker and LeCun, Improving Generalization Performance Using Double Backpropagation, IEEE Transactions on
        Neural Networks 3(6), 1992.

    Example:
        >>> import torch
        >>> GradientNorm()(torch.tensor([[[[3.0, 4.0]]]]), None)
        tensor([25.])
    """

    def forward(
        self,
        gradients: Tensor,
        guided_gradients: Tensor | None,
        *,
        boxes: list[Tensor] | None = None,
        masks: Tensor | None = None,
    ) -> Tensor:
        """See `InputGradientRegularizer`."""
        return gradients.flatten(1).square().sum(dim=1)
