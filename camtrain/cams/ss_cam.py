"""SS-CAM."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from camtrain.cams.score_cam import Masking, ScoreCAM, Variant
from camtrain.messages import checked_number, checked_seed, positive_integer

NoiseOn = Literal["activation", "input"]


class SSCAM(ScoreCAM):
    """SS-CAM: Score-CAM with each score averaged over noise on the mask or on the masked image.

        activation:  (M_k + ε) ∘ x,     input:  M_k ∘ x + ε,     ε ~ N(0, σ²),     M_k = s(Up(A^k))
        map = ReLU(Σ_k w_k A^k)

    The weights w_k are those of `ScoreCAM`, in either `variant`, computed from the mean of the scores over
    `num_samples` draws: the mean of probabilities, or of logits before the softmax over channels. `noise_on` chooses
    between the paper's two kinds of noise: on the activation map, with one value per pixel for all colors, or on the
    masked input, with one value per pixel and color. Flat channels cost no pass, as in `ScoreCAM`: noise has no mask to
    smooth there.

    Departures: the noise is added to the normalized map, so that σ means the same for every channel. The authors' code
    adds it to the raw map, with a standard deviation of (2 / range)², which is largest for the weakest channels. With
    the paper's σ of 2, twice the range of the mask, the network sees mostly noise; with 0.2 the mask stays visible.

    The draws are the same for each image of a batch, and depend neither on `max_batch` nor on `num_channels`.

    Args:
        network: A network from (N, C, H, W) to (N, K) logits.
        target_layer: The layer, by its dotted name or as a module. `None` finds the last spatial layer at the first
            call.
        noise_on: Where the noise is added: `activation` (SS-CAM 1) or `input` (SS-CAM 2).
        num_samples: The number of draws for each channel.
        noise_std: The standard deviation σ of the noise, in units of the mask, which spans 0 to 1, or of the images.
        seed: The seed of the draws. `None` takes it from torch's global generator, whose state is left as found, so
            that two calls in a row draw the same noise.
        variant: The kind of weights, `class_probability` or `algorithm_1`; see `ScoreCAM`.
        max_batch: The largest number of masked images in one forward pass; bounds the memory.
        num_channels: The number of channels to measure for each image: those of the largest mean magnitude (see
            `strongest_channels`). The others are left out of the map. `None` measures all.
        progress: Whether to show a progress bar.
        independent_classes: As for `ScoreCAM`.
        differentiable: False only; accepted so that all methods have one signature.

    Raises:
        ValueError: If `noise_on` is another word, `num_samples` or `noise_std` is not positive, or as for `ScoreCAM`.

    Cost:
        The cost of `ScoreCAM` times `num_samples`.

    Source:
        Wang, Naidu, et al., SS-CAM: Smoothed Score-CAM for Sharper Visual Feature Localization, 2020, arXiv 2006.14255.

    Example:
        >>> from camtrain.networks import CIFARResNet
        >>> SSCAM(CIFARResNet(depth=8), "layer3", num_samples=2, num_channels=4)(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 8, 8])
    """

    def __init__(
        self,
        network: nn.Module,
        target_layer: str | nn.Module | None = None,
        *,
        noise_on: NoiseOn = "activation",
        num_samples: int = 35,
        noise_std: float = 2.0,
        seed: int | None = None,
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
            variant=variant,
            max_batch=max_batch,
            num_channels=num_channels,
            progress=progress,
            independent_classes=independent_classes,
            differentiable=differentiable,
        )
        if noise_on not in get_args(NoiseOn):
            raise ValueError(f"`noise_on`: expected one of {', '.join(get_args(NoiseOn))}, got {noise_on!r}")
        self.noise_on = noise_on
        self.num_samples = positive_integer("num_samples", num_samples)
        self.noise_std = checked_number("noise_std", noise_std, above=0)
        self.seed = None if seed is None else checked_seed("seed", seed)

    def masking(self, channels: int) -> Masking:
        """The function that masks images with noise, drawn anew for each channel and sample."""
        generator = None if self.seed is None else torch.Generator().manual_seed(self.seed)
        # Each draw has its own seed, so that it does not depend on the batch it is made in.
        seeds = torch.randint(2**62, (channels, self.num_samples), generator=generator).tolist()

        def masked(images: Tensor, masks: Tensor, channel: Tensor, sample: Tensor) -> Tensor:
            numbers = zip(channel.tolist(), sample.tolist(), strict=True)
            if self.noise_on == "activation":
                return images * (masks + self._noise(masks, [seeds[k][s] for k, s in numbers]))
            return images * masks + self._noise(images, [seeds[k][s] for k, s in numbers])

        return masked

    def _noise(self, like: Tensor, seeds: list[int]) -> Tensor:
        """Noise of the shape of a tensor, each row drawn with its own seed."""
        noise = torch.empty_like(like)
        generator = torch.Generator(like.device)
        for row, seed in zip(noise, seeds, strict=True):
            row.normal_(0.0, self.noise_std, generator=generator.manual_seed(seed))
        return noise
