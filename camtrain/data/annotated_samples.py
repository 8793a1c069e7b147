"""Samples of which only some keep their annotation."""

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
from camtrain.messages import checked_fraction


def annotated_indices(labels: Sequence[int], fraction: float, seed: int) -> list[int]:
    """Indices of the images that keep their annotation, ascending.

    Of n images, `round(fraction · n)` keep it, and at least one if the fraction is above 0. The fraction is the same in
    every class, as far as whole images allow. With the same seed, the images of a smaller fraction are among those of a
    larger one.

    Args:
        labels: The class index of each image.
        fraction: The fraction of the images, from 0 to 1.
        seed: The seed of the choice.

    Raises:
        ValueError: If the fraction is out of range.

    Source: Rao et al., "Studying How to Efficiently and Effectively Guide Models with Explanations", ICCV 2023, who
    annotate 1 % and 10 % of the images. Departures: their choice is not stratified, and their number is rounded down.

    Example:
        >>> few, more = (annotated_indices([0] * 6 + [1] * 6, fraction, seed=0) for fraction in (1 / 3, 2 / 3))
        >>> len(few), sum(index < 6 for index in few), set(few) < set(more)
        (4, 2, True)
    """
    checked_fraction("annotated_fraction", fraction)
    count = max(round(fraction * len(labels)), 1 if fraction > 0 else 0)
    return sorted(stratified_order(labels, seed)[:count])


class AnnotatedSamples(Dataset[Sample]):
    """Samples of which only some keep their boxes and masks; those of the others are hidden.

    A hidden annotation is (0, 4) boxes and a mask that is nowhere true, which means "unknown" in camtrain. Ignored
    pixels are hidden with it. A sample without boxes, or without a mask, gets none. Images are unchanged.

    Args:
        samples: The samples, with boxes, masks or both.
        annotated: The indices of the samples that keep their annotation.

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
        if "ignored" in sample:
            hidden["ignored"] = tv_tensors.Mask(torch.zeros_like(sample["ignored"].as_subclass(Tensor)))
        return hidden
