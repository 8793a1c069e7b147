"""Integrated Gradients: the gradient, averaged over the way from a baseline to the image."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from camtrain.attributions.base_attribution import BaseAttribution
from camtrain.attributions.gradients_of_variants import gradients_of_variants
from camtrain.gradients import ClassIndex, class_score, fixed_class, gradients_enabled, left_as_found, selected_class
from camtrain.gradients.not_inference import not_inference
from camtrain.positive_integer import positive_integer

_ROUNDING = 32  # multiples of the precision of the scores that their difference is uncertain by


def integrated_gradients(images: Tensor, baseline: Tensor, mean_gradients: Tensor) -> Tensor:
    """Difference to the baseline times the mean gradient on the straight way there.

        a = (x - x') ⊙ ∫₀¹ ∂y/∂x (x' + α (x - x')) dα

    The attributions of an image add up to y(x) - y(x') (completeness), as far as the mean is exact.

    Args:
        images: x, (N, 3, H, W).
        baseline: x', which broadcasts to the images.
        mean_gradients: the integral, (N, 3, H, W).

    Returns:
        (N, 3, H, W). Differentiable in all arguments.

    Source:
        Sundararajan et al., Axiomatic Attribution for Deep Networks, ICML 2017, eq. 1, arXiv 1703.01365.

    Example:
        >>> integrated_gradients(torch.tensor([3.0]), torch.tensor([1.0]), torch.tensor([0.5]))
        tensor([1.])
    """
    return (images - baseline) * mean_gradients


def completeness_error(attributions: Tensor, scores: Tensor, baseline_scores: Tensor) -> Tensor:
    """How far attributions are from adding up to what the score gained since the baseline.

        |Σ a - (y(x) - y(x'))| / |y(x) - y(x')|

    Args:
        attributions: (N, 3, H, W).
        scores: y(x), (N,).
        baseline_scores: y(x'), (N,).

    Returns:
        (N,), at least 0; infinite where the score gained nothing and the attributions add up to something.

    Source:
        Sundararajan et al., Axiomatic Attribution for Deep Networks, ICML 2017, proposition 1, arXiv 1703.01365.

    Example:
        >>> attributions = torch.tensor([1.0, 0.75]).view(1, 1, 1, 2)
        >>> completeness_error(attributions, torch.tensor([5.0]), torch.tensor([3.0]))
        tensor([0.1250])
    """
    gap, gain = _gap_and_gain(attributions, scores, baseline_scores)
    # Where both are zero there is no error, and 0/0 must not be computed.
    return torch.where(gap == 0, gap, gap / torch.where(gap == 0, torch.ones_like(gain), gain)).to(scores.dtype)


def _gap_and_gain(attributions: Tensor, scores: Tensor, baseline_scores: Tensor) -> tuple[Tensor, Tensor]:
    gain = scores.double() - baseline_scores.double()
    return (attributions.double().flatten(1).sum(dim=1) - gain).abs(), gain.abs()


class IntegratedGradients(BaseAttribution):
    """Integrated Gradients of the class score; see `integrated_gradients` for the formula.

    The integral is a midpoint sum. Along the way a network of ReLUs has a gradient that jumps, which no rule of higher
    order can profit from; at the same number of points the midpoints' attributions were closer to the limit than those
    of a Gauss-Legendre rule. The paper's remedy for a sum that is too coarse is to check completeness and to take more
    points, and that is what is done here: an image that is not complete to `tolerance` gets two more points next to
    each of its own (which are kept, so that nothing is computed twice), up to `max_steps`. If it is not complete then,
    there is a warning that says how far off it is. `completeness_error` tells it of any attributions. Nothing is kept
    between calls.

    Args:
        network: from (N, 3, H, W) to (N, K) logits.
        baseline: x', in the space of the images that the network gets: a number, one for each channel, or a tensor that
            broadcasts to the images. For normalized images the default, zero, is the mean color of the data set;
            black is -mean/std of each channel.
        num_steps: points on the way that each image gets at least.
        tolerance: relative completeness error above which an image gets more points; with `None` each has `num_steps`.
            Choose `None` in training mode, where dropout and BatchNorm make a score depend on more than its image, so
            that nothing is complete.
        max_steps: points on the way that no image gets more of.
        max_batch: most images in one pass. It bounds the memory, except with `differentiable`, where the graphs of all
            points are kept.
        differentiable: keep the attributions in the graph (see `BaseAttribution`).

    Raises:
        ValueError: if `num_steps`, `max_steps` or `max_batch` is no positive integer, `tolerance` is not positive, or
            `max_steps` is less than `num_steps`. When called: if the baseline does not broadcast to the images.

    Cost:
        `num_steps` forward passes and backward passes to the input, three times as many or nine times where they are
        needed; one forward pass for the class and one of the baseline.

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

    def __init__(
        self,
        network: nn.Module,
        baseline: float | Sequence[float] | Tensor = 0.0,
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
        if tolerance is not None and not tolerance > 0:
            raise ValueError(f"`tolerance`: expected a positive relative error, or None, got {tolerance}")
        if tolerance is not None and max_steps < num_steps:
            raise ValueError(f"`max_steps`: expected at least `num_steps`, {num_steps}, got {max_steps}")
        super().__init__(network, differentiable=differentiable)
        self.baseline = baseline
        self.tolerance = tolerance

    def attributions(self, images: Tensor, class_idx: ClassIndex) -> Tensor:
        """See the class."""
        baseline = self._baseline(images)
        logits = self.logits(images)
        class_idx = fixed_class(logits, class_idx)
        means = self._mean_gradients(images, baseline, class_idx, _midpoints(self.num_steps))
        if self.tolerance is not None:
            scores = (class_score(logits, class_idx), class_score(self.logits(baseline), class_idx))
            means = self._refined(means, images, baseline, class_idx, scores)
        return integrated_gradients(images, baseline, means)

    def completeness_error(self, attributions: Tensor, images: Tensor, class_idx: ClassIndex = None) -> Tensor:
        """Relative completeness error of attributions that this method made; see the function of that name.

        Args:
            attributions: (N, 3, H, W), of these images and this class.
            images: (N, 3, H, W).
            class_idx: as for the call.

        Returns:
            (N,), at least 0.

        Cost:
            Two forward passes.
        """
        with gradients_enabled(), left_as_found(self.network, images.device):
            images = not_inference(images)
            logits = self.logits(images)
            class_idx = fixed_class(logits, class_idx)
            baseline_logits = self.logits(self._baseline(images))
        scores = class_score(logits, class_idx), class_score(baseline_logits, class_idx)
        return completeness_error(attributions.detach(), *scores)

    def _refined(
        self, means: Tensor, images: Tensor, baseline: Tensor, class_idx: ClassIndex, scores: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Mean gradients with three times as many points for the images that are not complete, then nine times."""
        steps = self.num_steps
        incomplete = self._incomplete(means, images, baseline, scores)
        while len(incomplete) and 3 * steps <= self.max_steps:
            some, way = images[incomplete], _new_midpoints(steps)
            new = self._mean_gradients(some, baseline[incomplete], selected_class(class_idx, incomplete), way)
            # The old points are a third of all.
            means = means.index_copy(0, incomplete, torch.lerp(new, means[incomplete], 1 / 3))
            steps *= 3
            incomplete = self._incomplete(means, images, baseline, scores)
        if len(incomplete):
            self._warn(means, images, baseline, scores, len(incomplete))
        return means

    def _incomplete(self, means: Tensor, images: Tensor, baseline: Tensor, scores: tuple[Tensor, Tensor]) -> Tensor:
        """Which images are not complete to the tolerance, as far as the precision of the scores can tell."""
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
            f"integrated gradients: the attributions of {incomplete} of {len(images)} images are not complete to "
            f"{self.tolerance:g}, the worst to {float(error):.1e}; raise `max_steps`, or `tolerance`",
            stacklevel=5,
        )

    def _mean_gradients(self, images: Tensor, baseline: Tensor, class_idx: ClassIndex, way: Sequence[float]) -> Tensor:
        points = (baseline + part * (images - baseline) for part in way)
        total = sum(
            (group.sum(dim=0) for group in gradients_of_variants(self.gradient, points, class_idx, self.max_batch)),
            start=torch.zeros((), device=images.device),
        )
        return total / len(way)

    def _baseline(self, images: Tensor) -> Tensor:
        baseline = torch.as_tensor(self.baseline, dtype=images.dtype, device=images.device)
        baseline = not_inference(baseline)
        baseline = baseline.view(-1, 1, 1) if baseline.dim() == 1 else baseline
        try:
            return baseline.expand_as(images)
        except RuntimeError as error:
            raise ValueError(
                f"`baseline`: expected a number, one for each channel, or a tensor that broadcasts to the images, "
                f"{tuple(images.shape)}, got {tuple(baseline.shape)}"
            ) from error


def _midpoints(steps: int) -> list[float]:
    """Middles of as many equal parts of the way."""
    return [(step + 0.5) / steps for step in range(steps)]


def _new_midpoints(steps: int) -> list[float]:
    """Those of three times as many parts that are not among those of `num_steps`."""
    return [point for number, point in enumerate(_midpoints(3 * steps)) if number % 3 != 1]
