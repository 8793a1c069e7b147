"""The base of penalties on the input gradient."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal, get_args

from torch import Tensor

from camtrain.gradients import BatchNormStatistics
from camtrain.regularizers.regularizer import Penalty, Regularizer

ExplainedScalar = Literal["loss", "log_probabilities", "class_score"]
"""The scalar that δ_i is the gradient of: the loss of image i, Σ_k log p_k, or the logit of its label.

Of images that show several classes, Σ_k log p_k is Σ_k [log p_k + log(1 - p_k)], and the label is one of them, drawn at
random."""


class InputGradientRegularizer(Regularizer):
    """L_R = 1/n Σ_i E_i, a penalty on the gradients δ_i = n ∂L_C/∂x_i; an engine takes its gradient to the parameters.

    A subclass implements `forward`: it says what is penalized and never sees the network. It may set two class
    attributes: `needs_guided_gradient = True` asks for the guided gradient, too, and `explained` names the scalar whose
    gradient δ_i is, if that is not the loss.

    Args:
        batch_norm_statistics: The statistics of BatchNorm while δ is taken. `batch`, as in Algorithm 1: those of the
            training batch, so that δ_i also depends on the other images of the batch. `running`: the running averages,
            so that δ_i depends on image i alone, as at test time; this costs a second forward pass.

    Raises:
        ValueError: If there are no such statistics.
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

    @property
    def needs_class(self) -> bool:
        """Whether δ_i is the gradient of the logit of a class that the image shows."""
        return self.explained == "class_score"

    @abstractmethod
    def forward(
        self,
        gradients: Tensor,
        guided_gradients: Tensor | None,
        *,
        boxes: list[Tensor] | None = None,
        masks: Tensor | None = None,
    ) -> Tensor | Penalty:
        """The penalty of each image.

        Args:
            gradients: δ, (N, C, H, W), float32 or float64.
            guided_gradients: δ^G, (N, C, H, W), detached; `None` unless `needs_guided_gradient`.
            boxes: One (M_i, 4) tensor for each image, xyxy pixels; `None` if the batch has none.
            masks: (N, H, W) bool; `None` if the batch has none.

        Returns:
            (N,), or a `Penalty` if some images do not count.
        """
