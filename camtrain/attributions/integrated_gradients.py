"""Integrated Gradients: the gradient averaged along the line from a baseline to the image."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from camtrain.attributions.base_attribution import BaseAttribution
from camtrain.attributions.baseline import Baseline, baseline_of, checked_baseline
from camtrain.attributions.gradients_of_variants import gradients_of_variants
from camtrain.attributions.saliency_map import ChannelReduction
from camtrain.batch import check_finite_images, check_images
from camtrain.gradients import ClassIndex, class_score, fixed_class, gradients_enabled, left_as_found, selected_class
from camtrain.gradients.not_inference import not_inference
from camtrain.messages import CamtrainWarning, checked_number, positive_integer

_ROUNDING = 32  # the difference of scores is uncertain by this many multiples of their precision


def integrated_gradients(images: Tensor, baseline: Tensor, mean_gradients: Tensor) -> Tensor:
    """Integrated Gradients: the difference to the baseline times the mean gradient on the line between them.

        a = (x - x') ⊙ ∫₀¹ ∂y/∂x (x' + α (x - x')) dα

    The attributions of an image add up to y(x) - y(x') (completeness), to the precision of the mean.

    Args:
        images: The images x, (N, C, H, W).
        baseline: The baseline x', which broadcasts to the images.
        mean_gradients: The integral, (N, C, H, W).

    Returns:
        (N, C, H, W). Differentiable in all arguments.

    Source:
        Sundararajan et al., Axiomatic Attribution for Deep Networks, ICML 2017, eq. 1, arXiv 1703.01365.

    Example:
        >>> integrated_gradients(torch.tensor([3.0]), torch.tensor([1.0]), torch.tensor([0.5]))
        tensor([1.])
    """
    return (images - baseline) * mean_gradients


def completeness_error(attributions: Tensor, scores: Tensor, baseline_scores: Tensor) -> Tensor:
    """The relative error of the sum of the attributions, compared with the score's gain over the baseline.

        |Σ a - (y(x) - y(x'))| / |y(x) - y(x')|

    Args:
        attributions: The attributions a, (N, C, H, W).
        scores: The score y(x) of each image, (N,).
        baseline_scores: The score y(x') of each baseline, (N,).

    Returns:
        (N,), at least 0; infinite if the score gained nothing and the attributions do not add up to zero.

    Source:
        Sundararajan et al., Axiomatic Attribution for Deep Networks, ICML 2017, proposition 1, arXiv 1703.01365.

    Example:
        >>> attributions = torch.tensor([1.0, 0.75]).view(1, 1, 1, 2)
        >>> completeness_error(attributions, torch.tensor([5.0]), torch.tensor([3.0]))
        tensor([0.1250])
    """
    gap, gain = _gap_and_gain(attributions, scores, baseline_scores)
    # If both are zero, there is no error, and 0/0 must not be computed.
    return torch.where(gap == 0, gap, gap / torch.where(gap == 0, torch.ones_like(gain), gain)).to(scores.dtype)


def _gap_and_gain(attributions: Tensor, scores: Tensor, baseline_scores: Tensor) -> tuple[Tensor, Tensor]:
    gain = scores.double() - baseline_scores.double()
    return (attributions.double().flatten(1).sum(dim=1) - gain).abs(), gain.abs()


class IntegratedGradients(BaseAttribution):
    """Integrated Gradients: the input gradient of the class score, averaged along the line from a baseline.

    See `integrated_gradients` for the formula. The integral is a midpoint sum. The gradient of a ReLU network jumps
    along the line, so rules of higher order gain nothing: with the same number of points, the attributions of midpoints
    were closer to the limit than those of a Gauss-Legendre rule.

    As the paper recommends, completeness is checked and more points are taken if the sum is too coarse: an image that
    is not complete to `tolerance` gets two more points next to each of its points (which are kept, so nothing is
    computed twice), up to `max_steps`. If it is still not complete, a warning gives the error. `completeness_error`
    computes the error of any attributions. Nothing is kept between calls.

    Args:
        network: A network from (N, C, H, W) to (N, K) logits.
        baseline: The baseline x', as the network would get it: a number, one number for each channel, or a tensor that
            broadcasts to the images. For normalized images, the default of zero is the mean color of the data set;
            black is -mean/std of each channel.
        num_steps: The number of points on the line that every image gets.
        tolerance: The relative completeness error above which an image gets more points; `None` never takes more.
            Choose `None` in training mode, where dropout and BatchNorm make a score depend on more than its image, so
            that no image is complete.
        max_steps: The largest number of points that an image can get.
        max_batch: The largest number of images in one forward pass. Bounds the memory, except with `differentiable`,
            where the graphs of all points are kept.
        differentiable: Whether the attributions stay in the graph; see `BaseAttribution`.

    Raises:
        ValueError: If `num_steps`, `max_steps` or `max_batch` is no positive integer, `tolerance` is not positive, or
            `max_steps` is less than `num_steps`. When called: if the baseline does not broadcast to the images.

    Cost:
        `num_steps` forward passes and backward passes to the input, three or nine times as many for images that need
        them; one forward pass for the class and one for the baseline.

    Source:
        Sundararajan et al., Axiomatic Attribution for Deep Networks, ICML 2017, sections 3 and 5, arXiv 1703.01365.

    Example:
        >>> from camtrain.networks import CIFARResNet
        >>> network, images = CIFARResNet(depth=8).eval(), torch.rand(2, 3, 16, 16)
        >>> method = IntegratedGradients(network, num_steps=10)
        >>> attributions = method(images)
        >>> attributions.shape
        torch.Size([2, 3, 16, 16])
        >>> bool((method.completeness_error(attributions, images) < 1e-3).all())
        True
    """

    reduction: ChannelReduction = "sum"

    def __init__(
        self,
        network: nn.Module,
        baseline: Baseline = 0.0,
        num_steps: int = 50,
        *,
        tolerance: float | None = 1e-3,
        max_steps: int = 450,
        max_batch: int = 64,
        differentiable: bool = False,
    ) -> None:
        self.num_steps = positive_integer("num_steps", num_steps)
        self.max_steps = positive_integer("max_steps", max_steps)
        self.max_batch = positive_integer("max_batch", max_batch)
        if tolerance is not None:
            tolerance = checked_number("tolerance", tolerance, "a positive relative error, or None", above=0)
        if tolerance is not None and max_steps < num_steps:
            raise ValueError(f"`max_steps`: expected at least `num_steps`, {num_steps}, got {max_steps}")
        super().__init__(network, differentiable=differentiable)
        self.baseline = checked_baseline(baseline)
        self.tolerance = tolerance

    def attributions(self, images: Tensor, class_idx: ClassIndex) -> Tensor:
        """See the class."""
        baseline = baseline_of(self.baseline, images)
        logits = self.logits(images)
        class_idx = fixed_class(logits, class_idx)
        means = self._mean_gradients(images, baseline, class_idx, _midpoints(self.num_steps))
        if self.tolerance is not None:
            scores = (class_score(logits, class_idx), class_score(self.logits(baseline), class_idx))
            means = self._refined(means, images, baseline, class_idx, scores)
        return integrated_gradients(images, baseline, means)

    def completeness_error(self, attributions: Tensor, images: Tensor, class_idx: ClassIndex = None) -> Tensor:
        """The relative completeness error of attributions made by this method; see the function of that name.

        Args:
            attributions: The attributions of these images for this class, (N, C, H, W).
            images: The images, (N, C, H, W).
            class_idx: The class to explain, as for the call.

        Returns:
            (N,), at least 0.

        Cost:
            Two forward passes.
        """
        check_images(images)
        check_finite_images(images)
        with gradients_enabled(), left_as_found(self.network, images.device):
            images = not_inference(images)
            logits = self.logits(images)
            class_idx = fixed_class(logits, class_idx)
            baseline_logits = self.logits(baseline_of(self.baseline, images))
        scores = class_score(logits, class_idx), class_score(baseline_logits, class_idx)
        return completeness_error(attributions.detach(), *scores)

    def _refined(
        self, means: Tensor, images: Tensor, baseline: Tensor, class_idx: ClassIndex, scores: tuple[Tensor, Tensor]
    ) -> Tensor:
        """The mean gradients, with more points for images that are not complete: three times as many, then nine."""
        steps = self.num_steps
        incomplete = self._incomplete(means, images, baseline, scores)
        while len(incomplete) and 3 * steps <= self.max_steps:
            some, way = images[incomplete], _new_midpoints(steps)
            new = self._mean_gradients(some, baseline[incomplete], selected_class(class_idx, incomplete), way)
            # The old points are a third of all points.
            means = means.index_copy(0, incomplete, torch.lerp(new, means[incomplete], 1 / 3))
            steps *= 3
            incomplete = self._incomplete(means, images, baseline, scores)
        if len(incomplete):
            self._warn(means, images, baseline, scores, len(incomplete))
        return means

    def _incomplete(self, means: Tensor, images: Tensor, baseline: Tensor, scores: tuple[Tensor, Tensor]) -> Tensor:
        """Find the images that are not complete to the tolerance, allowing for the precision of the scores."""
        attributions = integrated_gradients(images, baseline, means).detach()
        gap, gain = _gap_and_gain(attributions, *scores)
        size = scores[0].double().abs() + scores[1].double().abs()
        allowed = (self.tolerance or 0.0) * gain + _ROUNDING * torch.finfo(scores[0].dtype).eps * size
        return (gap > allowed).nonzero().squeeze(1)

    def _warn(
        self, means: Tensor, images: Tensor, baseline: Tensor, scores: tuple[Tensor, Tensor], incomplete: int
    ) -> None:
        error = completeness_error(integrated_gradients(images, baseline, means).detach(), *scores).amax()
        warnings.warn(
            f"Integrated Gradients: the attributions of {incomplete} of {len(images)} images are not complete to "
            f"{self.tolerance:g}, the worst to {float(error):.1e}; raise `max_steps`, or `tolerance`",
            CamtrainWarning,
            stacklevel=5,
        )

    def _mean_gradients(self, images: Tensor, baseline: Tensor, class_idx: ClassIndex, way: Sequence[float]) -> Tensor:
        points = (baseline + part * (images - baseline) for part in way)
        total = sum(
            (group.sum(dim=0) for group in gradients_of_variants(self.gradient, points, class_idx, self.max_batch)),
            start=torch.zeros((), device=images.device),
        )
        return total / len(way)


def _midpoints(steps: int) -> list[float]:
    """The midpoints of that number of equal parts of the line."""
    return [(step + 0.5) / steps for step in range(steps)]


def _new_midpoints(steps: int) -> list[float]:
    """The midpoints of three times as many parts that are not midpoints of `steps` parts."""
    return [point for number, point in enumerate(_midpoints(3 * steps)) if number % 3 != 1]
