"""Attention mining (GAIN): an image without the pixels of its map must not be recognized."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from camtrain.messages import checked_number
from camtrain.probabilities import class_probabilities
from camtrain.regularizers.annotated_regions import AnnotationKind, check_annotation_kind, regions_like
from camtrain.regularizers.cam_regularizer import CAMRegularizer
from camtrain.regularizers.normalized_maps import positive_by_maximum
from camtrain.regularizers.pass_regularizer import TrainingPass
from camtrain.regularizers.regularizer import Penalty


def erased(images: Tensor, maps: Tensor, sharpness: float, threshold: float) -> Tensor:
    """Images without the pixels that their maps show, I (1 - T(A)), T(A) = sigmoid(ω (A - σ)).

    Args:
        images: (N, C, H, W).
        maps: (N, H, W) in [0, 1].
        sharpness: ω, the slope of the sigmoid.
        threshold: σ, the value of the map at which half of a pixel is erased.

    Returns:
        (N, C, H, W), differentiable in the maps.

    Example:
        >>> erased(torch.ones(1, 3, 1, 2), torch.tensor([[[0.0, 1.0]]]), 10.0, 0.5)[0, 0]
        tensor([[0.9933, 0.0067]])
    """
    return images * (1 - torch.sigmoid(sharpness * (maps - threshold))).unsqueeze(1)


class AttentionMining(CAMRegularizer):
    """GAIN: pulls all evidence for the class into the map, and on request the map onto the object.

        E_i = p_label(erased(x_i)) + w · [annotated] · 1/(HW) Σ (Â - M)²,    Â = A⁺ / max A⁺

    Erased pixels are zero after normalization, which is the mean color. A map without a positive value does not count.
    The second term is a mean over all images: where few are annotated, it is small. Departures from the paper: if
    an image has one label, its softmax probability replaces the sigmoid; if it has several, p is the sigmoid of one of
    them, drawn at random in each step, in the place of the mean over all of them. The map is divided by its largest
    value.

    Args:
        method: The method that makes the map, such as `grad_cam` or `layer_cam`.
        target_layer: The layer of the map, by its dotted name; null is the last spatial layer.
        annotation: The annotation of the second term: `masks`, `boxes`, or `any`: masks where an image has one,
            otherwise its boxes.
        mask_weight: w, the weight of the second term. 0 is plain GAIN, which needs no annotation; the paper's extended
            version has 10.
        sharpness: ω, the slope of the sigmoid; 10 in the paper.
        threshold: σ, in [0, 1]; a pixel whose map is at σ is half erased.

    Raises:
        ValueError: If a setting is out of its range, or an annotation is chosen while `mask_weight` is 0.

    Cost:
        A second forward and backward pass, with the erased images.

    Source:
        Li et al., Tell Me Where to Look: Guided Attention Inference Network, CVPR 2018, arXiv 1802.10171, eqs. 2 to 6.
    """

    # The rest of the image must not be recognized, as deletion asks; the other scores show whole maps.
    trained_metrics: ClassVar[tuple[str, ...]] = ("deletion_auc",)

    def __init__(
        self,
        method: str = "grad_cam",
        target_layer: str | list[str] | None = None,
        annotation: AnnotationKind = "any",
        mask_weight: float = 0.0,
        sharpness: float = 10.0,
        threshold: float = 0.5,
    ) -> None:
        super().__init__(method, target_layer)
        check_annotation_kind(annotation)
        self.mask_weight = checked_number("mask_weight", mask_weight, at_least=0)
        if annotation != "any" and self.mask_weight == 0:
            raise ValueError(f"`annotation`: expected any, because mask_weight = 0 ignores it, got {annotation!r}")
        self.annotation: AnnotationKind = annotation
        self.sharpness = checked_number("sharpness", sharpness, above=0)
        self.threshold = checked_number("threshold", threshold, at_least=0, at_most=1)

    @property
    def looks_at(self) -> AnnotationKind | None:
        """See `Regularizer`."""
        return self.annotation if self.mask_weight else None

    def penalty(self, training_pass: TrainingPass) -> Penalty:
        """See the class."""
        maps, alive = positive_by_maximum(self.cams(training_pass))
        images = training_pass.images.detach()
        left = erased(images, maps.to(images.dtype), self.sharpness, self.threshold)
        logits = training_pass.again(left)
        probabilities = class_probabilities(logits.to(maps.dtype), independent=training_pass.independent)
        values = probabilities.gather(1, training_pass.labels.unsqueeze(1)).squeeze(1)
        if self.mask_weight:
            regions = regions_like(maps, training_pass.boxes, training_pass.masks, self.annotation)
            values = values + self.mask_weight * _distance(maps, regions)
        return Penalty(values, alive)


def _distance(maps: Tensor, regions: Tensor) -> Tensor:
    """Mean squared distance of maps in [0, 1] and regions, (N,); 0 for images without annotation."""
    distance = (maps - regions.to(maps.dtype)).square().flatten(1).mean(dim=1)
    return distance * regions.flatten(1).any(dim=1)
