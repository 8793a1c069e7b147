"""What a penalty on the input gradient is."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal, get_args

from torch import Tensor

from camtrain.gradients import BatchNormStatistics
from camtrain.regularizers.regularizer import Penalty, Regularizer

ExplainedScalar = Literal["loss", "log_probabilities", "class_score"]
"""What δ_i is the gradient of: the cross-entropy of image i, Σ_k log p_k, or the logit of its label."""


class InputGradientRegularizer(Regularizer):
    """L_R = 1/n Σ_i penalty_i on the gradients δ_i = n ∂L_C/∂x_i; an engine takes its gradient to the parameters.

    A regularizer says what is penalized and never sees the network. With the class attribute `explained` it says what
    δ_i is the gradient of, where that is not the loss.

    Args:
        batch_norm_statistics: the statistics of BatchNorm while δ is taken. `"batch"`, as in Algorithm 1: those of the
            training batch, so that δ_i also runs through the other images of the batch. `"running"`: the running
            averages, so that δ_i is of image i alone, as at test time; costs a second forward pass.
    """

    needs_guided_gradient: ClassVar[bool] = False
    explained: ExplainedScalar = "loss"

    def __init__(self, batch_norm_statistics: BatchNormStatistics = "batch") -> None:
        super().__init__()
        if batch_norm_statistics not in get_args(BatchNormStatistics):
            raise ValueError(
                f"`batch_norm_statistics`: expected one of {get_args(BatchNormStatistics)}, "
                f"got {batch_norm_statistics!r}"
            )
        self.batch_norm_statistics: BatchNormStatistics = batch_norm_statistics

    @abstractmethod
    def forward(
        self,
        gradients: Tensor,
        guided_gradients: Tensor | None,
        *,
        boxes: list[Tensor] | None = None,
        masks: Tensor | None = None,
    ) -> Tensor | Penalty:
        """Penalty of each image.

        Args:
            gradients: δ, (N, 3, H, W), float32 or float64.
            guided_gradients: δ^G, (N, 3, H, W), detached; `None` unless `needs_guided_gradient`.
            boxes: one (M_i, 4) tensor per image, xyxy pixels, for penalties that ask where the object is.
            masks: (N, H, W) bool, likewise.

        Returns:
            (N,); a `Penalty` where some images do not count.
        """
