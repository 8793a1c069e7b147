"""Right for the right reasons: no input gradient outside the object."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from camtrain.gradients import BatchNormStatistics
from camtrain.regularizers.annotated_regions import AnnotationKind, annotated_regions
from camtrain.regularizers.input_gradient_regularizer import InputGradientRegularizer
from camtrain.regularizers.regularizer import Penalty


class RightForRightReasons(InputGradientRegularizer):
    """Penalizes the input gradient of the log-probabilities outside the object.

        E_i = Σ_d (A_d δ_id)²,    δ_i = ∂/∂x_i Σ_k log p_ik,    A = 1 outside the object, 0 on it

    Args:
        explained: `log_probabilities`, as in the paper: of all classes. `loss`: the cross-entropy of the label, which
            vanishes where the classifier is confident, and which costs less, since L_C has that gradient anyway.
        annotation: where the object is: `masks`, `boxes`, or `any`, which is the mask of an image that has one and its
            boxes otherwise.
        batch_norm_statistics: see `InputGradientRegularizer`.

    Raises:
        ValueError: if a setting is not one of these.

    Source:
        Ross et al., Right for the Right Reasons: Training Differentiable Models by Constraining their Explanations,
        IJCAI 2017, arXiv 1703.03717, eq. 1. The default λ is that of the authors' code; the paper advises a λ that
        makes both terms about as large, which `regularizer_balance_steps` does.

    Example:
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
        if annotation not in ("any", "masks", "boxes"):
            raise ValueError(f"`annotation`: expected any, masks or boxes, got {annotation!r}")
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
        size = (int(gradients.shape[-2]), int(gradients.shape[-1]))
        regions = annotated_regions(boxes, masks, size, self.annotation)
        if regions is None:
            regions = torch.zeros(len(gradients), *size, dtype=torch.bool)
        regions = regions.to(gradients.device)
        outside = gradients.masked_fill(regions.unsqueeze(1), 0).square().flatten(1).sum(dim=1)
        return Penalty(outside, regions.flatten(1).any(dim=1))
