"""Training images drawn so that every class is equally frequent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from torch.utils.data import WeightedRandomSampler

from camtrain.data.sample_labels import SampleLabel


def balanced_sampler(labels: Sequence[SampleLabel]) -> WeightedRandomSampler:
    """A sampler that draws each class with the same probability, and as many images as there are.

    It draws with PyTorch's global generator.

    Args:
        labels: The class index of each image.

    Raises:
        ValueError: If an image may show several classes.

    Example:
        >>> sampler = balanced_sampler([0, 0, 0, 1])
        >>> sampler.weights.tolist(), len(list(sampler))
        ([0.3333333333333333, 0.3333333333333333, 0.3333333333333333, 1.0], 4)
    """
    if any(isinstance(label, tuple) for label in labels):
        raise ValueError(
            "`balanced_classes`: expected false for images that may show several classes; give the loss "
            "`positive_weights: balanced` instead"
        )
    counts = Counter(labels)
    return WeightedRandomSampler([1 / counts[label] for label in labels], num_samples=len(labels))
