"""Seeds of noise that each image has to itself."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def content_seeds(images: Tensor, seed: int = 0) -> list[int]:
    """A seed for each image, from its values: the noise of an image does not depend on the batch that it is in.

    Args:
        images: (N, ...) images.
        seed: Changes all seeds.

    Returns:
        N integers in [0, 2⁶³).

    Example:
        >>> images = torch.rand(3, 3, 4, 4)
        >>> content_seeds(images)[2:] == content_seeds(images[2:]), content_seeds(images, 1) == content_seeds(images)
        (True, False)
    """
    return [_seed_of(image, seed) for image in images.detach().cpu()]


def _seed_of(image: Tensor, seed: int) -> int:
    plain = image.contiguous().as_subclass(Tensor).flatten()
    digest = hashlib.sha256(str(seed).encode())
    digest.update(plain.view(torch.uint8).numpy().tobytes() if plain.numel() else b"")
    return int.from_bytes(digest.digest()[:8], "big") >> 1
