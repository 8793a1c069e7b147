"""Images with Gaussian noise, for methods that average over it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from camtrain.messages import checked_number, checked_seed, positive_integer


@dataclass(frozen=True)
class NoisyImages:
    """Noisy copies of a batch, x_i + σ (max x_i − min x_i) ε, ε ~ N(0, 1).

    All images share one ε, scaled to the range of each image, so that an image's copies do not depend on the other
    images of the batch. ε is drawn copy by copy, so they do not depend on the number of copies in a pass either.

    Args:
        noise_level: σ, as a fraction of the range of the image's values.
        num_samples: The number of copies.
        seed: The seed of the noise; `None` draws it from torch's global generator.

    Raises:
        ValueError: If `noise_level` is negative, or `num_samples` is not a positive integer.

    Source:
        Smilkov et al., SmoothGrad: removing noise by adding noise, 2017, arXiv 1706.03825, section 3.

    Example:
        >>> copies = list(NoisyImages(0.1, num_samples=2, seed=0)(torch.rand(3, 3, 4, 4)))
        >>> len(copies), copies[0].shape
        (2, torch.Size([3, 3, 4, 4]))
    """

    noise_level: float
    num_samples: int
    seed: int | None = None

    def __post_init__(self) -> None:
        positive_integer("num_samples", self.num_samples)
        checked_number("noise_level", self.noise_level, at_least=0)
        if self.seed is not None:
            checked_seed("seed", self.seed)

    def __call__(self, images: Tensor) -> Iterator[Tensor]:
        """The copies, (N, C, H, W) each, in the graph of the images; each is drawn when it is needed."""
        generator = None if self.seed is None else torch.Generator(images.device).manual_seed(self.seed)
        values = images.detach()
        span = values.amax(dim=(1, 2, 3), keepdim=True) - values.amin(dim=(1, 2, 3), keepdim=True)
        for _ in range(self.num_samples):
            noise = torch.randn(images.shape[1:], generator=generator, device=images.device, dtype=images.dtype)
            yield images + self.noise_level * span * noise
