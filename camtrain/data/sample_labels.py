"""The labels of a data set, without reading its images if possible."""

from __future__ import annotations

from typing import Any

from torch.utils.data import Subset

from camtrain.data.annotated_samples import AnnotatedSamples
from camtrain.data.dilated_boxes import DilatedBoxes
from camtrain.data.transformed_samples import Samples, TransformedSamples


def sample_labels(samples: Samples) -> list[int]:
    """The class index of each sample.

    Args:
        samples: The samples. Their attribute `labels` is used if they have one (for a `Subset`, that of its data set);
            otherwise the samples are read one by one. Wrappers of the package are looked through.

    Example:
        >>> import torch
        >>> from camtrain.data.in_memory_samples import InMemorySamples
        >>> samples = InMemorySamples(torch.zeros(3, 3, 8, 8, dtype=torch.uint8), torch.tensor([4, 7, 1]))
        >>> sample_labels(Subset(samples, [2, 0]))
        [1, 4]
    """
    if isinstance(samples, Subset):
        whole: Any = samples.dataset
        if isinstance(whole, Subset) or hasattr(whole, "labels"):
            labels = sample_labels(whole)
            return [labels[index] for index in samples.indices]
    if isinstance(samples, (TransformedSamples, AnnotatedSamples, DilatedBoxes)):
        return sample_labels(samples.samples)
    known = getattr(samples, "labels", None)
    if known is not None:
        return [int(label) for label in known]
    return [int(samples[index]["label"]) for index in range(len(samples))]
