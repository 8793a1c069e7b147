"""Attribution priors on expected gradients: smooth attributions, or none outside the object."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from camtrain.gradients import class_score, input_gradient
from camtrain.messages import checked_number, positive_integer
from camtrain.regularizers.annotated_regions import AnnotationKind, check_annotation_kind, regions_like
from camtrain.regularizers.map_faithfulness import other_images
from camtrain.regularizers.pass_regularizer import PassRegularizer, TrainingPass
from camtrain.regularizers.regularizer import Penalty
from camtrain.regularizers.total_variation import total_variation

AttributionPrior = Literal["smooth", "outside"]


class ExpectedGradientsPrior(PassRegularizer):
    """Penalizes expected gradients: the input gradient between two images, times the difference of the images.

        φ_i = 1/S Σ_s (x_i - x_j) ⊙ ∂y/∂x (x_j + α (x_i - x_j)),    j: another image of the batch, α uniform in [0, 1]
        E_i = TV(φ_i) / (D std φ_i)     with `prior: smooth`
        E_i = Σ_d (A_d φ_id)²           with `prior: outside`;  A = 1 outside the object, 0 on it

    y is the label's logit, D = CHW the number of values of an image, and TV the anisotropic total variation, summed
    over the channels. j and α are drawn for each image and sample s in each step. Over all j and α, the φ_i of an image
    add up to the difference of its logit to the mean logit (completeness), as far as the logit of an image depends on
    that image alone: with BatchNorm's batch statistics it does not. The smooth prior needs no annotation.

    Every operation of the network has to be twice differentiable: SyncBatchNorm and hardsigmoid are not. Batch
    normalization sees the points between images as a batch of their own. The engine is not involved.

    Args:
        prior: What is penalized: `smooth`, the total variation relative to the standard deviation, which is the paper's
            prior for images; or `outside`, the attributions outside the object, as in `RightForRightReasons`.
        num_samples: S, the number of points for each image, at least 1; 1 in the paper.
        annotation: Where the object is, for the prior `outside`: `masks`, `boxes`, or `any`: masks where an image has
            one, otherwise its boxes.
        floor: The standard deviation of φ_i at or below which an image does not count in the prior `smooth`. The only
            image of a batch has φ_i = 0: it does not count there, and has no penalty in the prior `outside`.

    Raises:
        ValueError: If a setting is out of its range, or an annotation is chosen for the prior `smooth`.

    Cost:
        S forward passes, S backward passes to the input with a graph, and the backward pass through both: about as much
        as S steps of double backpropagation.

    Source:
        Erion et al., Improving Performance of Deep Learning Models with Axiomatic Attribution Priors and Expected
        Gradients, Nature Machine Intelligence 2021, arXiv 1906.10670. The smooth prior is its pixel attribution prior;
        the standardization is that of its code for MNIST. Departures: other images come from the batch instead of the
        whole data set; the mean over the values replaces the sum, so that λ does not depend on the size of the images;
        a standard deviation below 1/√D is not rounded up to it. The prior `outside` puts expected gradients in the
        place of the input gradient of Ross et al., IJCAI 2017, arXiv 1703.03717.

    Example:
        >>> from camtrain import Objective
        >>> from camtrain.networks import CIFARResNet
        >>> objective = Objective(ExpectedGradientsPrior(), weight=0.1)
        >>> objective(CIFARResNet(depth=8), torch.rand(4, 3, 32, 32), torch.arange(4)).loss.backward()
    """

    def __init__(
        self,
        prior: AttributionPrior = "smooth",
        num_samples: int = 1,
        annotation: AnnotationKind = "any",
        floor: float = 1e-8,
    ) -> None:
        super().__init__()
        if prior not in get_args(AttributionPrior):
            raise ValueError(f"`prior`: expected smooth or outside, got {prior!r}")
        check_annotation_kind(annotation)
        if annotation != "any" and prior == "smooth":
            raise ValueError(f"`annotation`: expected any, because the prior smooth ignores it, got {annotation!r}")
        self.prior: AttributionPrior = prior
        self.num_samples = positive_integer("num_samples", num_samples)
        self.annotation: AnnotationKind = annotation
        self.floor = checked_number("floor", floor, above=0)
        self.needs_annotation = prior == "outside"  # type: ignore[misc]

    @property
    def looks_at(self) -> AnnotationKind | None:
        """See `Regularizer`."""
        return self.annotation if self.needs_annotation else None

    def penalty(self, training_pass: TrainingPass) -> Penalty:
        """See the class."""
        samples = [self._sample(training_pass) for _ in range(self.num_samples)]
        with torch.autocast(samples[0].device.type, enabled=False):
            attributions = torch.stack(samples).mean(dim=0)
            if self.prior == "smooth":
                return _roughness(attributions, self.floor)
            regions = regions_like(attributions, training_pass.boxes, training_pass.masks, self.annotation)
            outside = attributions.masked_fill(regions.unsqueeze(1), 0).square().flatten(1).sum(dim=1)
            return Penalty(outside, regions.flatten(1).any(dim=1))

    def _sample(self, training_pass: TrainingPass) -> Tensor:
        """One sample of the expected gradients, (N, C, H, W), in the graph."""
        images = training_pass.images.detach()
        alpha, key = torch.rand(2, len(images), device=images.device)
        others = images[other_images(torch.ones_like(key, dtype=torch.bool), key)]
        difference = images - others
        points = (others + alpha.to(images.dtype).view(-1, 1, 1, 1) * difference).requires_grad_()
        # Fused attention has no second derivative; the plain kernel does.
        with sdpa_kernel(SDPBackend.MATH):
            logits = training_pass.again(points)
        gradients = input_gradient(class_score(logits, training_pass.labels).sum(), points, create_graph=True)
        return difference.to(gradients.dtype) * gradients

    def extra_repr(self) -> str:
        """Settings, for printing."""
        return f"prior={self.prior!r}, num_samples={self.num_samples}"


def _roughness(attributions: Tensor, floor: float) -> Penalty:
    """TV(φ) / (D std φ) of each image."""
    flat = attributions.flatten(1)
    size = flat.shape[1]
    deviation = torch.linalg.vector_norm(flat - flat.mean(dim=1, keepdim=True), dim=1) / size**0.5
    alive = deviation > floor
    return Penalty(total_variation(attributions) / (size * torch.where(alive, deviation, 1.0)), alive)
