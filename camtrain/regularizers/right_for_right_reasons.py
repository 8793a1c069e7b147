"""Right for the right reasons: a penalty on the input gradient outside the object."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from camtrain.gradients import BatchNormStatistics
from camtrain.regularizers.annotated_regions import AnnotationKind, check_annotation_kind, regions_like
from camtrain.regularizers.input_gradient_regularizer import InputGradientRegularizer
from camtrain.regularizers.regularizer import Penalty


class RightForRightReasons(InputGradientRegularizer):
    """Penalizes the input gradient of the log-probabilities outside the object.

        E_i = Σ_d (A_d δ_id)²,    δ_i = ∂/∂x_i Σ_k log p_ik,    A = 1 outside the object, 0 on it

    Args:
        explained: The scalar whose gradient is penalized. `log_probabilities`, as in the paper: their sum over all
            classes. `loss`: L_C. Its gradient vanishes where the classifier is confident, and costs less, because
            training computes it anyway.
        annotation: Where the object is: `masks`, `boxes`, or `any`: masks where an image has one, otherwise its boxes.
        batch_norm_statistics: The statistics of BatchNorm while δ is taken: `batch`, or `running`, as at test time,
            which costs a second forward pass.

    Raises:
        ValueError: If a setting has another value.

    Source:
        Ross et al., Right for the Right Reasons: Training Differentiable Models by Constraining their Explanations,
        IJCAI 2017, arXiv 1703.03717, eq. 1. The default λ is from the authors' code. The paper advises a λ that makes
        both terms about equally large, which `regularizer_balance_steps` does.

    Example:
        >>> import torch
        >>> gradients = torch.tensor([[[[1.0, 2.0]]]])
        >>> RightForRightReasons()(gradients, None, masks=torch.tensor([[[True, False]]])).values
        tensor([4.])
    """

    needs_annotation: ClassVar[bool] = True
    default_weight: ClassVar[float] = 1000.0

    def __init__(
        self,
        explained: Literal["log_probabilities", "loss"] = "log_probabilities",
        annotation: AnnotationKind = "any",
        batch_norm_statistics: BatchNormStatistics = "batch",
    ) -> None:
        super().__init__(batch_norm_statistics)
        if explained not in ("log_probabilities", "loss"):
            raise ValueError(f"`explained`: expected log_probabilities or loss, got {explained!r}")
        check_annotation_kind(annotation)
        self.explained = explained
        self.annotation: AnnotationKind = annotation

    @property
    def looks_at(self) -> AnnotationKind | None:
        """See `Regularizer`."""
        return self.annotation

    def forward(
        self,
        gradients: Tensor,
        guided_gradients: Tensor | None,
        *,
        boxes: list[Tensor] | None = None,
        masks: Tensor | None = None,
    ) -> Penalty:
        """See `InputGradientRegularizer`."""
        regions = regions_like(gradients, boxes, masks, self.annotation)
        outside = gradients.masked_fill(regions.unsqueeze(1), 0).square().flatten(1).sum(dim=1)
        return Penalty(outside, regions.flatten(1).any(dim=1))
