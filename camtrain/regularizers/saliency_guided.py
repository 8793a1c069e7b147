"""Saliency-guided training: the least salient pixels should not change the prediction."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from camtrain.attributions.saliency_map import saliency_map
from camtrain.gradients import class_score, input_gradient
from camtrain.messages import checked_fraction
from camtrain.probabilities import with_both_classes
from camtrain.regularizers.pass_regularizer import PassRegularizer, TrainingPass


def without_least_salient(images: Tensor, saliency: Tensor, share: float, noise: Tensor) -> Tensor:
    """Images with noise in place of their least salient pixels.

    Args:
        images: (N, C, H, W).
        saliency: (N, H, W).
        share: The fraction of the pixels that is replaced, in [0, 1].
        noise: (N, C, H, W) in [0, 1]; it is scaled to the range of each channel of each image.

    Returns:
        (N, C, H, W).

    Example:
        >>> image, noise = torch.tensor([1.0, 3.0]).expand(1, 3, 1, 2), torch.full((1, 3, 1, 2), 0.5)
        >>> without_least_salient(image, torch.tensor([[[0.1, 0.9]]]), 0.5, noise)[0, 0]
        tensor([[2., 3.]])
    """
    count = round(share * saliency[0].numel())
    least = saliency.flatten(1).argsort(dim=1, stable=True)[:, :count]
    replaced = torch.zeros_like(saliency, dtype=torch.bool).flatten(1).scatter_(1, least, True).view_as(saliency)
    low, high = images.amin((-2, -1), keepdim=True), images.amax((-2, -1), keepdim=True)
    return torch.where(replaced.unsqueeze(1), low + noise * (high - low), images)


class SaliencyGuided(PassRegularizer):
    """Penalizes a change of the prediction when noise replaces the least salient pixels of an image.

        E_i = KL(p(x_i) ‖ p(x̃_i)),    x̃_i: x_i with noise where max_c |∂y/∂x_c| is smallest

    y is the label's logit. The choice of pixels is treated as a constant; the gradient runs through both predictions.
    Needs no annotation.

    Args:
        share: The fraction of the pixels that is replaced, in (0, 1); 0.5 in the paper on CIFAR-10 and MNIST.

    Raises:
        ValueError: If `share` is out of its range.

    Cost:
        A backward pass to the input, and a second forward and backward pass.

    Source:
        Ismail et al., Improving Deep Learning Interpretability by Saliency Guided Training, NeurIPS 2021,
        arXiv 2111.14338, algorithm 1; λ = 1.
    """

    needs_images_gradient: ClassVar[bool] = True

    def __init__(self, share: float = 0.5) -> None:
        super().__init__()
        self.share = checked_fraction("share", share, zero=False, one=False)

    def penalty(self, training_pass: TrainingPass) -> Tensor:
        """See the class."""
        score = class_score(training_pass.logits, training_pass.labels).sum()
        saliency = saliency_map(input_gradient(score, training_pass.images).detach())
        images = training_pass.images.detach()
        masked = without_least_salient(images, saliency, self.share, torch.rand_like(images))
        logits = training_pass.logits, training_pass.again(masked)
        first, second = (each.to(saliency.dtype) for each in logits)
        return _divergence(first, second, independent=training_pass.independent)

    def extra_repr(self) -> str:
        """Settings, for printing."""
        return f"share={self.share}"


def _divergence(first: Tensor, second: Tensor, *, independent: bool) -> Tensor:
    """KL(p of the first logits ‖ p of the second logits), (N,); summed over the classes if they are independent."""
    if independent:
        # Of each class, the two outcomes.
        pairs = ((F.logsigmoid(sign * first), F.logsigmoid(sign * second)) for sign in (1, -1))
        return torch.stack([F.kl_div(q, p, reduction="none", log_target=True) for p, q in pairs]).sum(dim=(0, 2))
    first, second = (with_both_classes(each).log_softmax(dim=1) for each in (first, second))
    return F.kl_div(second, first, reduction="none", log_target=True).sum(dim=1)
