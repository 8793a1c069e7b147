"""GradientSHAP: gradients at random points between random baselines and the image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from camtrain.attributions.base_attribution import BaseAttribution
from camtrain.attributions.baseline import Baseline, baseline_of, checked_baseline
from camtrain.attributions.captum_library import ExplainedScores, captum_attr
from camtrain.attributions.saliency_map import ChannelReduction
from camtrain.gradients import ClassIndex, selected_class
from camtrain.gradients.seeded import seeded
from camtrain.messages import checked_number, checked_seed, positive_integer


class GradientSHAP(BaseAttribution):
    """GradientSHAP: the expected gradient on lines from random baselines to the noisy image, times the difference.

        a = 1/n Σ_k (x + ε_k − x'_k) ⊙ ∂y/∂x (x'_k + α_k (x + ε_k − x'_k)),    α_k ~ U(0, 1),    ε_k ~ N(0, σ²)

    It approximates Shapley values of a network that is nearly linear between baselines and image; with one baseline and
    no noise it is Integrated Gradients with random points. It is computed by captum. All images of a batch get the same
    random numbers, so that the attributions of an image do not depend on its neighbors. With several baselines, another
    `max_batch` draws other ones.

    Args:
        network: A network from (N, C, H, W) to (N, K) logits.
        baselines: The baselines x', from which one is drawn for each sample: (B, C, H, W), such as a few images of the
            data; or a single one, as for `IntegratedGradients`.
        num_samples: n, the number of samples for each image.
        noise: σ, the standard deviation of the noise, in the units of the images.
        max_batch: The largest number of samples in one pass; bounds the memory.
        seed: The seed of the random numbers; `None` draws it from torch's generator, which is left as found.
        differentiable: False only; accepted so that all methods have one signature.

    Raises:
        ModuleNotFoundError: If captum is not installed.
        ValueError: If `differentiable` is True, a number is out of its range, or a baseline is not finite. When called:
            if the baselines do not fit the images.

    Cost:
        One forward pass for the class, and n forward passes and backward passes to the input.

    Source:
        Lundberg and Lee, A Unified Approach to Interpreting Model Predictions, NeurIPS 2017, arXiv 1705.07874; Erion et
        al., Improving Performance of Deep Learning Models with Axiomatic Attribution Priors and Expected Gradients,
        Nature Machine Intelligence 2021, arXiv 1906.10670.

    Example:
        >>> from camtrain.networks import CIFARResNet
        >>> GradientSHAP(CIFARResNet(depth=8), num_samples=4, seed=0)(torch.rand(2, 3, 16, 16)).shape
        torch.Size([2, 3, 16, 16])
    """

    reduction: ChannelReduction = "sum"

    def __init__(
        self,
        network: nn.Module,
        baselines: Baseline = 0.0,
        *,
        num_samples: int = 50,
        noise: float = 0.0,
        max_batch: int = 64,
        seed: int | None = None,
        differentiable: bool = False,
    ) -> None:
        if differentiable:
            raise ValueError(
                "`differentiable`: expected False, got True; captum's GradientSHAP has no graph. "
                "`camtrain.regularizers.ExpectedGradientsPrior` trains through expected gradients"
            )
        captum_attr("gradient_shap")
        super().__init__(network)
        self.baselines = checked_baseline(baselines)
        self.num_samples = positive_integer("num_samples", num_samples)
        self.noise = checked_number("noise", noise, "a standard deviation of at least 0", at_least=0)
        self.max_batch = positive_integer("max_batch", max_batch)
        self.seed = None if seed is None else checked_seed("seed", seed)

    def attributions(self, images: Tensor, class_idx: ClassIndex) -> Tensor:
        """See the class."""
        classes = self.fixed_class(images, class_idx)
        baselines = self._baselines(images)
        seed = int(torch.randint(2**31, ())) if self.seed is None else self.seed
        found = torch.zeros_like(images)
        for number in range(len(images)):
            row = slice(number, number + 1)
            scores = ExplainedScores(self.network, selected_class(classes, row), 1)
            found[row] = self._of_image(scores, images[row].detach(), baselines, seed)
        return found

    def _of_image(self, scores: ExplainedScores, image: Tensor, baselines: Tensor, seed: int) -> Tensor:
        method = captum_attr("gradient_shap").GradientShap(scores)
        total = torch.zeros_like(image)
        with seeded(seed, image.device):
            for start in range(0, self.num_samples, self.max_batch):
                samples = min(self.max_batch, self.num_samples - start)
                part = method.attribute(image, baselines=baselines, n_samples=samples, stdevs=self.noise)
                total = total + samples / self.num_samples * part.detach()
        return total

    def _baselines(self, images: Tensor) -> Tensor:
        given = self.baselines
        if not isinstance(given, Tensor) or given.dim() != 4:
            return baseline_of(given, images[:1]).contiguous()
        if given.shape[1:] != images.shape[1:] or not len(given):
            expected = f"(B, {', '.join(map(str, images.shape[1:]))})"
            raise ValueError(f"`baselines`: expected {expected} for these images, got {tuple(given.shape)}")
        return given.to(images)
