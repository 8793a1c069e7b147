"""Training images drawn so that every class is equally frequent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from torch.utils.data import WeightedRandomSampler


def balanced_sampler(labels: Sequence[int]) -> WeightedRandomSampler:
    """A sampler that draws each class with the same probability, and as many images as there are.

    It draws with PyTorch's global generator.

    Args:
        labels: The class index of each image.

    Example:
        >>> sampler = balanced_sampler([0, 0, 0, 1])
        >>> sampler.weights.tolist(), len(list(sampler))
        ([0.3333333333333333, 0.3333333333333333, 0.3333333333333333, 1.0], 4)
    """
    counts = Counter(labels)
    return WeightedRandomSampler([1 / counts[label] for label in labels], num_samples=len(labels))
