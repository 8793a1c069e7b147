"""SmoothGrad: the gradient averaged over noisy copies of the image."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn

from camtrain.attributions.base_attribution import BaseAttribution
from camtrain.attributions.gradients_of_variants import gradients_of_variants
from camtrain.gradients import ClassIndex, NoisyImages
from camtrain.messages import positive_integer

Statistic = Literal["mean", "square", "variance"]
"""The statistic of the gradients at noisy images: their mean, the mean of their squares, or their variance."""


def gradient_statistic(gradients: Iterable[Tensor], statistic: Statistic = "mean") -> Tensor:
    """The mean, mean square or variance of gradients that come in groups; the groups are not kept.

        "mean":      1/n Σ_k g_k                     SmoothGrad
        "square":    1/n Σ_k g_k²                    SmoothGrad-Squared
        "variance":  1/n Σ_k (g_k - 1/n Σ_l g_l)²    VarGrad

    The variance is combined from the means and squared deviations of the groups, which avoids the cancellation in
    E[g²] - E[g]².

    Args:
        gradients: Groups of gradients, (s, ...) with any s, together n ≥ 1.
        statistic: The statistic, `"mean"`, `"square"` or `"variance"`.

    Returns:
        (...). Differentiable.

    Source:
        Smilkov et al., SmoothGrad: Removing Noise by Adding Noise, 2017, arXiv 1706.03825 (mean). Hooker et al., A
        Benchmark for Interpretability Methods in Deep Neural Networks, NeurIPS 2019, arXiv 1806.10758 (square).
        Adebayo et al., Local Explanation Methods for Deep Neural Networks Lack Sensitivity to Parameter Values, ICLR
        workshop 2018, arXiv 1810.03307 (variance). The variance of a group of groups: Chan et al., Updating Formulae
        and a Pairwise Algorithm for Computing Sample Variances, 1979.

    Example:
        >>> groups = [torch.tensor([1.0, 2.0]), torch.tensor([6.0])]
        >>> gradient_statistic(groups), gradient_statistic(groups, "variance")
        (tensor(3.), tensor(4.6667))
    """
    count = 0
    mean = deviation = torch.zeros(())
    for group in gradients:
        if statistic == "square":
            group = group.square()
        size, group_mean = len(group), group.mean(dim=0)
        fraction = size / (count + size)
        if statistic == "variance":
            within = (group - group_mean).square().sum(dim=0)
            between = (group_mean - mean.to(group)).square() * (count * fraction)
            deviation = deviation.to(group) + within + between
        mean = torch.lerp(mean.to(group).expand_as(group_mean), group_mean, fraction)
        count += size
    return deviation / count if statistic == "variance" else mean


class SmoothGrad(BaseAttribution):
    """SmoothGrad: the input gradient of the class score, averaged over noisy copies of the image.

        a = 1/n Σ_k ∂y/∂x (x + ε_k),    ε_k ~ N(0, σ²),    σ = noise_level · (max x - min x)

    `statistic` can also be the mean of the squared gradients or their variance (VarGrad); see `gradient_statistic`.

    The class is that of the clean image, even if a noisy copy is classified differently. All images of a batch get the
    same noise, scaled to the range of each, so the attributions of an image depend neither on its neighbors nor on
    `max_batch`. The paper leaves both open.

    By default, the noise comes from torch's generator on the device of the images, which is left as found: the
    attributions repeat after `torch.manual_seed`, and in a second call if nothing else draws in between. With `seed`
    they do not depend on that generator.

    Args:
        network: A network from (N, C, H, W) to (N, K) logits.
        num_samples: The number n of noisy copies of each image. The paper sees little gain beyond 50.
        noise_level: The standard deviation σ, as a fraction of the range of the image's values. The paper recommends
            0.1 to 0.2.
        statistic: `"mean"` for SmoothGrad, `"square"` for SmoothGrad-Squared, `"variance"` for VarGrad.
        max_batch: The largest number of images in one forward pass. Bounds the memory, except with `differentiable`,
            where the graphs of all samples are kept.
        seed: The seed of the noise; `None` draws from torch's generator.
        differentiable: Whether the attributions stay in the graph; see `BaseAttribution`. The noise is a constant.

    Raises:
        ValueError: If `noise_level` is negative, `num_samples` or `max_batch` is no positive integer, or `statistic` is
            another word.

    Cost:
        One forward pass for the class, and n forward passes and backward passes to the input.

    Example:
        >>> from camtrain.networks import CIFARResNet
        >>> SmoothGrad(CIFARResNet(depth=8), num_samples=2, seed=0)(torch.rand(2, 3, 16, 16)).shape
        torch.Size([2, 3, 16, 16])
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        num_samples: int = 50,
        noise_level: float = 0.15,
        statistic: Statistic = "mean",
        max_batch: int = 64,
        seed: int | None = None,
        differentiable: bool = False,
    ) -> None:
        self.noisy = NoisyImages(num_samples=num_samples, noise_level=noise_level, seed=seed)
        self.max_batch = positive_integer("max_batch", max_batch)
        if statistic not in ("mean", "square", "variance"):
            raise ValueError(f"`statistic`: expected 'mean', 'square' or 'variance', got {statistic!r}")
        super().__init__(network, differentiable=differentiable)
        self.statistic: Statistic = statistic

    def attributions(self, images: Tensor, class_idx: ClassIndex) -> Tensor:
        """See the class."""
        class_idx = self.fixed_class(images, class_idx)
        gradients = gradients_of_variants(self.gradient, self.noisy(images), class_idx, self.max_batch)
        return gradient_statistic(gradients, self.statistic)
