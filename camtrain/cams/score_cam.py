"""Score-CAM."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from camtrain.cams.normalize import normalize
from camtrain.cams.perturbation_cam import PerturbationCAM, strongest_channels
from camtrain.cams.resize import resize
from camtrain.gradients import ClassIndex, class_score, fixed_class, selected_class

Variant = Literal["class_probability", "algorithm_1"]
Masking = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""From images (m, 3, H, W), masks (m, 1, H, W), numbers of channels and of samples, (m,), to the masked images."""


def channel_masks(channels: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks of images: each channel brought to their size, then from its own minimum to its own maximum.

        M = s(Up(A)),    s(a) = (a - min a) / (max a - min a)

    Args:
        channels: (M, h, w), of any images.
        size: (H, W) in pixels.

    Returns:
        (M, H, W) in [0, 1]; zeros where a channel is flat.

    Example:
        >>> channel_masks(torch.tensor([[[2.0, 6.0]], [[3.0, 3.0]]]), (1, 4))
        tensor([[[0.0000, 0.2500, 0.7500, 1.0000]],
        <BLANKLINE>
                [[0.0000, 0.0000, 0.0000, 0.0000]]])
    """
    return normalize(resize(channels, size))


class ScoreCAM(PerturbationCAM):
    """Score-CAM of a network: a channel is worth what the network says of the image where the channel is active.

        M_k = s(Up(A^k)),    map = ReLU(Σ_k w_k A^k)

    `channel_masks` makes the masks M_k. The paper describes two kinds of weights, and the authors' code has one:

    - `class_probability` (§3.2 and the authors' code): w_k = softmax(f(x ∘ M_k))_c, the class probability of the masked
      image, with no baseline and no softmax over channels.
    - `algorithm_1`: w_k = softmax_k(f_c(x ∘ M_k) - f_c(0)), the increase of the logit over that of the baseline, an
      image of zeros, with a softmax over channels. The baseline cancels in that softmax.

    A channel that is flat on an image is skipped, without a pass for it. With `class_probability` its weight is 0, as
    in the authors' code. With `algorithm_1` its mask is zeros, which makes the masked image the baseline: its increase
    is 0, and its weight what the softmax makes of that.

    Departures: the sum and its ReLU are taken at the layer's resolution and not after upsampling. With a `Contrast` or
    an `Against` the scores are contrasted likewise, probabilities or logits. With `num_channels`, the softmax of
    `algorithm_1` is over the channels that are kept.

    Args:
        network: from (N, 3, H, W) to (N, K) logits.
        target_layer: dotted name or module; `None` finds the last spatial layer at the first call.
        variant: `class_probability` or `algorithm_1`.
        max_batch: number of masked images in one pass; it bounds the memory.
        num_channels: measure only that many channels of each image, those of the largest mean magnitude (see
            `strongest_channels`), and leave the others out of the map; `None` measures all.
        progress: show a progress bar.
        differentiable: not possible here; there for the sake of one signature.

    Raises:
        ValueError: if `variant` is another one, or `PerturbationCAM` does.

    Cost:
        One forward pass of each image, and one of a masked image for each of its channels that is not flat, those of
        several images together in batches of `max_batch`. `algorithm_1`: one more, of the baseline.

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
        self.num_samples = 1

    def activations_and_weights(self, images: Tensor, class_idx: ClassIndex) -> tuple[Tensor, Tensor]:
        """The activations of the layer, and what the network says of the masked images."""
        activations, logits = self.activations_and_logits(images)
        classes = fixed_class(logits, class_idx)
        kept = strongest_channels(activations, self.num_channels)
        needed = kept & (activations.amax(dim=(-2, -1)) != activations.amin(dim=(-2, -1)))
        scores = self._scores_of_channels(images, activations, classes, needed)
        if self.variant == "class_probability" or not len(images):
            return activations, scores
        baseline: Tensor = self.network(torch.zeros_like(images[:1]))
        increases = scores - self._scores(baseline.expand_as(logits), classes).unsqueeze(1)
        return activations, torch.where(needed, increases, 0.0).masked_fill(~kept, -torch.inf).softmax(dim=1)

    def masking(self, channels: int) -> Masking:
        """How images of one call, with that many channels at the layer, are masked."""
        return lambda images, masks, _channel, _sample: images * masks

    def _scores_of_channels(self, images: Tensor, activations: Tensor, classes: ClassIndex, needed: Tensor) -> Tensor:
        """(N, C), the mean score of the images masked with a channel; 0 where it is not needed."""
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
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return class_score(logits.softmax(dim=1) if self.variant == "class_probability" else logits, class_idx)
