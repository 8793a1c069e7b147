"""Samples of which some only are annotated."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import cast

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors

from camtrain.batch import Sample
from camtrain.data.stratified_order import stratified_order
from camtrain.data.transformed_samples import Samples


def annotated_indices(labels: Sequence[int], fraction: float, seed: int) -> list[int]:
    """Indices of the images whose annotation is used, ascending: `round(fraction · n)` of n, at least one above 0.

    Every class has the same share as far as whole images allow. With the same seed those of a smaller fraction are
    among those of a larger one.

    Args:
        labels: class index of each image.
        fraction: share of the images, 0 to 1.
        seed: the same seed gives the same choice.

    Raises:
        ValueError: if the fraction is out of its range.

    Source: Rao et al., "Studying How to Efficiently and Effectively Guide Models with Explanations", ICCV 2023, who
    annotate 1 % and 10 % of the images. Departures: their choice is not stratified, and is rounded down.

    Example:
        >>> few, more = (annotated_indices([0] * 6 + [1] * 6, fraction, seed=0) for fraction in (1 / 3, 2 / 3))
        >>> len(few), sum(index < 6 for index in few), set(few) < set(more)
        (4, 2, True)
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"`annotated_fraction`: expected 0 to 1, got {fraction}")
    count = max(round(fraction * len(labels)), 1 if fraction > 0 else 0)
    return sorted(stratified_order(labels, seed)[:count])


class AnnotatedSamples(Dataset[Sample]):
    """Samples whose boxes and mask are hidden, but for those of some of them.

    A hidden one has (0, 4) boxes and a mask that is nowhere true, which is how camtrain says that they are unknown. A
    sample without boxes, or without a mask, gets none. The images are untouched.

    Args:
        samples: with boxes, masks or both.
        annotated: indices of the samples that keep them.

    Example:
        >>> image, mask = torch.zeros(3, 2, 2), tv_tensors.Mask(torch.ones(2, 2, dtype=torch.bool))
        >>> samples = AnnotatedSamples([{"image": image, "label": label, "mask": mask} for label in (0, 1)], [1])
        >>> samples[0]["mask"].any().item(), samples[1]["mask"].all().item()
        (False, True)
    """

    def __init__(self, samples: Samples, annotated: Collection[int]) -> None:
        self.samples = samples
        self.annotated = frozenset(annotated)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        sample = self.samples[index]
        if index % len(self) in self.annotated:
            return sample
        hidden = cast(Sample, dict(sample))
        if "boxes" in sample:
            none = torch.zeros(0, 4, dtype=sample["boxes"].dtype)
            hidden["boxes"] = tv_tensors.wrap(none, like=sample["boxes"])
        if "mask" in sample:
            hidden["mask"] = tv_tensors.Mask(torch.zeros_like(sample["mask"].as_subclass(Tensor)))
        return hidden
