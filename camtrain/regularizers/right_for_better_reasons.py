"""Right for better reasons: a penalty on the gradient of an influence function outside the object."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from camtrain.gradients import input_gradient
from camtrain.gradients.composed_batch_norm import ComposedBatchNorm
from camtrain.gradients.scaled_gradients import scaled_gradients
from camtrain.probabilities import total_log_probability
from camtrain.regularizers.annotated_regions import AnnotationKind, check_annotation_kind, regions_like
from camtrain.regularizers.pass_regularizer import PassRegularizer, TrainingPass
from camtrain.regularizers.regularizer import Penalty


class RightForBetterReasons(PassRegularizer):
    """RBR: penalizes pixels outside the object that have a say in how an image changes the parameters.

        E_i = Σ_d (A_d ι_id δ_id)²,    ι_i = ∂/∂x_i Σ_θ ∂ℓ_i/∂θ,    δ_i = ∂/∂x_i Σ_k log p_ik

    ℓ_i is the loss of the image, -log p_label(x_i) unless `classification_loss` is another; the sum runs over all
    trained parameters, and A is 1 outside the object and 0 on it. The influence of an image on the parameters is
    -H⁻¹ ∂ℓ_i/∂θ. With the identity in place of the inverse Hessian H⁻¹, ι_i is, but for its sign, the gradient of this
    influence at the image, summed over the parameters. With cross-entropy, a linear head does not contribute: its
    gradients add up to 0 over the classes. ι_i is multiplied by the gradient δ_i that `RightForRightReasons` penalizes.

    E_i is a product of fourth order in gradients, whose size depends on the network, its number of parameters and how
    confident it is. Choose λ with `regularizer_balance_steps`.

    Every operation of the network has to be differentiable three times: SyncBatchNorm, InstanceNorm and hardsigmoid are
    not. Batch normalization is made so (see `ComposedBatchNorm`). This holds with every engine: plain autograd
    differentiates a pass of the regularizer's own, and no engine is involved. With batch normalization in training
    mode, ι_i and δ_i also contain what image i does to the other images of the batch.

    Args:
        annotation: Where the object is: `masks`, `boxes`, or `any`: masks where an image has one, otherwise its boxes.

    Raises:
        ValueError: If there is no such annotation; in the first step, if the network has no trained parameters.
        RuntimeError: In the first step, if an operation has no second derivative.

    Cost:
        A second forward pass, a backward pass to the parameters, one through it to the input, and one to the input for
        δ_i, all with a graph; the backward pass of the step then runs through all of them. The graphs are in memory at
        the same time.

    Source:
        Shao et al., Right for Better Reasons: Training Differentiable Models by Constraining their Influence Functions,
        AAAI 2021. The formula, with its identity and its product of two gradients, is that of the code of Friedrich et
        al., A Typology for Exploring the Mitigation of Shortcut Behaviour, Nature Machine Intelligence 2023, arXiv
        2203.03668, which compares RBR with other methods. Departures: the mean over the images replaces the sum; ℓ_i is
        the loss of one image and not a mean over the batch, so that λ does not depend on the size of the batch.

    Example:
        >>> from camtrain import Objective
        >>> from camtrain.networks import CIFARResNet
        >>> objective = Objective(RightForBetterReasons(), weight=1e-3)
        >>> network, images, labels = CIFARResNet(depth=8), torch.rand(4, 3, 32, 32), torch.arange(4)
        >>> objective(network, images, labels, boxes=[torch.tensor([[4.0, 4.0, 20.0, 24.0]])] * 4).loss.backward()
    """

    needs_annotation: ClassVar[bool] = True

    def __init__(self, annotation: AnnotationKind = "any") -> None:
        super().__init__()
        check_annotation_kind(annotation)
        self.annotation: AnnotationKind = annotation

    @property
    def needs_class(self) -> bool:
        """False: both gradients are those of all classes."""
        return False

    @property
    def looks_at(self) -> AnnotationKind | None:
        """See `Regularizer`."""
        return self.annotation

    def penalty(self, training_pass: TrainingPass) -> Penalty:
        """See the class."""
        images = training_pass.images.detach().requires_grad_()
        # Neither torch's own batch normalization nor fused attention has all derivatives.
        with ComposedBatchNorm(), sdpa_kernel(SDPBackend.MATH):
            logits = training_pass.again(images)
        # In float64, as where other losses are differentiated by the images; Apple's accelerator has none.
        logits = logits.to(torch.float32 if images.device.type == "mps" else torch.float64)
        assert training_pass.losses is not None  # the objective has one
        influence = _influence_gradient(training_pass.network, training_pass.losses(logits).sum(), images)
        explained = total_log_probability(logits, independent=training_pass.independent).sum()
        product = influence * input_gradient(explained, images, create_graph=True)
        regions = regions_like(product, training_pass.boxes, training_pass.masks, self.annotation)
        outside = product.masked_fill(regions.unsqueeze(1), 0).square().flatten(1).sum(dim=1)
        return Penalty(outside, regions.flatten(1).any(dim=1))

    def extra_repr(self) -> str:
        """Settings, for printing."""
        return f"annotation={self.annotation!r}"


def _influence_gradient(network: nn.Module, loss: Tensor, images: Tensor) -> Tensor:
    """ι, (N, C, H, W): the gradient at the images of the sum of the loss's gradients at all parameters."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if not parameters:
        raise ValueError("`network`: RightForBetterReasons expects parameters that require a gradient, found none")
    try:
        gradients = scaled_gradients(loss, parameters, images, create_graph=True)
        total = torch.stack([gradient.sum() for gradient in gradients if gradient is not None]).sum()
        return input_gradient(total, images, create_graph=True)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise RuntimeError(
            f"`network`: an operation of {type(network).__name__} has no second derivative, which "
            f"RightForBetterReasons needs ({error}). Replace that operation, or use RightForRightReasons."
        ) from error
