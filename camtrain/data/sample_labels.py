"""The labels of a data set, without reading its images if possible."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.utils.data import Subset

from camtrain.data.annotated_samples import AnnotatedSamples
from camtrain.data.decoded_samples import DecodedSamples
from camtrain.data.dilated_boxes import DilatedBoxes
from camtrain.data.transformed_samples import Samples, TransformedSamples
from camtrain.data.whole_batches import WholeBatches

SampleLabel = int | tuple[int, ...]
"""A class index; the indices of all classes that an image shows, where it may show several."""


def sample_labels(samples: Samples, *, of_all_classes: bool = False) -> list[SampleLabel]:
    """The class index of each sample, or the indices of the classes that it shows, if it may show several.

    Args:
        samples: The samples. Their attribute `labels` is used if they have one (for a `Subset`, that of its data set);
            otherwise the samples are read one by one. Wrappers of the package are looked through.
        of_all_classes: Whether the attribute `shown_classes` is used before `labels`, which may be those of one object
            of several.

    Example:
        >>> import torch
        >>> from camtrain.data.in_memory_samples import InMemorySamples
        >>> samples = InMemorySamples(torch.zeros(3, 3, 8, 8, dtype=torch.uint8), torch.tensor([4, 7, 1]))
        >>> sample_labels(Subset(samples, [2, 0]))
        [1, 4]
        >>> samples = InMemorySamples(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.tensor([[1.0, 1], [0, 0]]))
        >>> sample_labels(samples)
        [(0, 1), ()]
    """
    if isinstance(samples, Subset):
        whole: Any = samples.dataset
        if isinstance(whole, Subset) or hasattr(whole, "labels"):
            labels = sample_labels(whole, of_all_classes=of_all_classes)
            return [labels[index] for index in samples.indices]
    if isinstance(samples, (TransformedSamples, AnnotatedSamples, DilatedBoxes, DecodedSamples, WholeBatches)):
        return sample_labels(samples.samples, of_all_classes=of_all_classes)
    known = getattr(samples, "shown_classes", None) if of_all_classes else None
    known = getattr(samples, "labels", None) if known is None else known
    if known is not None:
        return [_label(label) for label in known]
    return [_label(samples[index]["label"]) for index in range(len(samples))]


def _label(label: Any) -> SampleLabel:
    if isinstance(label, tuple):
        return label
    if isinstance(label, Tensor) and label.dim() == 1:
        return tuple((label >= 0.5).nonzero().flatten().tolist())
    return int(label)


def strata(labels: Sequence[SampleLabel]) -> list[int]:
    """The groups by which images are chosen evenly: their classes; images that may show several, by all that they show.

    Args:
        labels: As `sample_labels` returns them.

    Example:
        >>> strata([4, 7, 4]), strata([(0, 1), (), (0, 1)])
        ([4, 7, 4], [1, 0, 1])
    """
    sets = sorted({label for label in labels if isinstance(label, tuple)})
    return [sets.index(label) if isinstance(label, tuple) else label for label in labels]
