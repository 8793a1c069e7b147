"""Score-CAM."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from camtrain.cams.normalize import normalize
from camtrain.cams.perturbation_cam import PerturbationCAM, strongest_channels
from camtrain.cams.resize import resize
from camtrain.gradients import ClassIndex, Target, class_score, fixed_class, selected_class
from camtrain.probabilities import class_probabilities

Variant = Literal["class_probability", "algorithm_1"]
Masking = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""Masks images: from images (m, C, H, W), masks (m, 1, H, W), indices of channels (m,) and of samples (m,)."""


def channel_masks(channels: Tensor, size: tuple[int, int]) -> Tensor:
    """Make masks from channels: resize each channel to the images, then scale it from its minimum to its maximum.

        M = s(Up(A)),    s(a) = (a - min a) / (max a - min a)

    Args:
        channels: Channels of any images, (M, h, w).
        size: The size of the images, (H, W), in pixels.

    Returns:
        (M, H, W) in [0, 1]; zeros for a flat channel.

    Example:
        >>> channel_masks(torch.tensor([[[2.0, 6.0]], [[3.0, 3.0]]]), (1, 4))
        tensor([[[0.0000, 0.2500, 0.7500, 1.0000]],
        <BLANKLINE>
                [[0.0000, 0.0000, 0.0000, 0.0000]]])
    """
    return normalize(resize(channels, size))


class ScoreCAM(PerturbationCAM):
    """Score-CAM: weights each channel of a layer by the class score of the image masked with that channel.

        M_k = s(Up(A^k)),    map = ReLU(Σ_k w_k A^k)

    `channel_masks` makes the masks M_k. The paper describes two kinds of weights, of which the authors' code has one:

    - `class_probability` (§3.2 and the authors' code): w_k = softmax(f(x ∘ M_k))_c, the class probability of the masked
      image, with no baseline and no softmax over channels.
    - `algorithm_1`: w_k = softmax_k(f_c(x ∘ M_k) - f_c(0)), the increase of the logit over the logit of the baseline,
      an image of zeros, with a softmax over channels. The baseline cancels in that softmax.

    A channel that is flat on an image costs no pass. With `class_probability` its weight is 0, as in the authors' code.
    With `algorithm_1` its mask is zeros, so the masked image is the baseline and the increase is 0, which enters the
    softmax.

    Departures: the sum and the ReLU are taken at the resolution of the layer, not after upsampling. A `Contrast` or an
    `Against` combines the scores, probabilities or logits. With `num_channels`, the softmax of `algorithm_1` is over
    the channels that are kept.

    Args:
        network: A network from (N, C, H, W) to (N, K) logits.
        target_layer: The layer, by its dotted name or as a module. `None` finds the last spatial layer at the first
            call.
        variant: The kind of weights, `class_probability` or `algorithm_1`.
        max_batch: The largest number of masked images in one forward pass; bounds the memory.
        num_channels: The number of channels to measure for each image: those of the largest mean magnitude (see
            `strongest_channels`). The others are left out of the map. `None` measures all.
        progress: Whether to show a progress bar.
        independent_classes: Whether an image may show several classes, so that the probability of each is a sigmoid and
            not a softmax. `evaluate` and `explain` set it for networks that were trained so.
        differentiable: False only; accepted so that all methods have one signature.

    Raises:
        ValueError: If `variant` is another word, or as for `PerturbationCAM`.

    Cost:
        One forward pass for each image, and one for each of its channels that is not flat; the masked images of several
        images share batches of `max_batch`. `algorithm_1` needs one more pass, for the baseline.

    Source:
        Wang et al., Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks, CVPR workshop
        2020, arXiv 1910.01279.

    Example:
        >>> from camtrain.networks import CIFARResNet
        >>> ScoreCAM(CIFARResNet(depth=8), "layer3", num_channels=4)(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 8, 8])
    """

    def __init__(
        self,
        network: nn.Module,
        target_layer: str | nn.Module | None = None,
        *,
        variant: Variant = "class_probability",
        max_batch: int = 64,
        num_channels: int | None = None,
        progress: bool = False,
        independent_classes: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(
            network,
            target_layer,
            max_batch=max_batch,
            num_channels=num_channels,
            progress=progress,
            differentiable=differentiable,
        )
        if variant not in get_args(Variant):
            raise ValueError(f"`variant`: expected one of {', '.join(get_args(Variant))}, got {variant!r}")
        self.variant = variant
        self.independent_classes = independent_classes
        self.num_samples = 1

    def activations_and_weights(self, images: Tensor, class_idx: ClassIndex) -> tuple[Tensor, Tensor]:
        """The activations of the layer, and the weights of its channels from the scores of the masked images."""
        activations, logits = self.activations_and_logits(images)
        classes = fixed_class(logits, class_idx)
        kept = strongest_channels(activations, self.num_channels)
        needed = kept & (activations.amax(dim=(-2, -1)) != activations.amin(dim=(-2, -1)))
        scores = self._scores_of_channels(images, activations, classes, needed)
        if self.variant == "class_probability" or not len(images):
            return activations, scores
        # A class is read from the same row for every image; a target may compute anything from the whole output.
        zeros = torch.zeros_like(images if isinstance(classes, Target) else images[:1])
        baseline: Tensor = self.network(zeros)
        baseline = baseline if isinstance(classes, Target) else baseline.expand_as(logits)
        increases = scores - self._scores(baseline, classes).unsqueeze(1)
        return activations, torch.where(needed, increases, 0.0).masked_fill(~kept, -torch.inf).softmax(dim=1)

    def masking(self, channels: int) -> Masking:
        """The function that masks the images of one call, with that number of channels at the layer."""
        return lambda images, masks, _channel, _sample: images * masks

    def _scores_of_channels(self, images: Tensor, activations: Tensor, classes: ClassIndex, needed: Tensor) -> Tensor:
        """The mean score of each image masked with each channel, (N, C); 0 where it is not needed."""
        masking = self.masking(activations.shape[1])
        size = (images.shape[-2], images.shape[-1])
        numbers, channels = needed.nonzero(as_tuple=True)
        total = torch.zeros(needed.shape, dtype=torch.promote_types(images.dtype, torch.float32), device=images.device)
        rows = len(numbers) * self.num_samples
        with self.bar(rows) as bar:
            for chunk in self.chunks(rows, bar):
                row = torch.arange(chunk.start, chunk.stop, device=images.device)
                pair, sample = row // self.num_samples, row % self.num_samples
                image, channel = numbers[pair], channels[pair]
                masks = channel_masks(activations[image, channel].to(images.dtype), size)
                logits = self.network(masking(images[image], masks.unsqueeze(1), channel, sample))
                scores = self._scores(logits, selected_class(classes, image))
                total.index_put_((image, channel), scores.to(total.dtype), accumulate=True)
        return total / self.num_samples

    def _scores(self, logits: Tensor, class_idx: ClassIndex) -> Tensor:
        if isinstance(class_idx, Target):
            return class_score(logits, class_idx)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if self.variant == "class_probability":
            logits = class_probabilities(logits, independent=self.independent_classes)
        return class_score(logits, class_idx)
