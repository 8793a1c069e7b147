"""Content that does not show the explained class, with a map over it: what map leakage is measured on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from camtrain.controls import content_seeds, donors
from camtrain.evaluation.masked_image import masked_images
from camtrain.evaluation.need import ProbabilityNeed

if TYPE_CHECKING:
    from camtrain.evaluation.measured import Measured


def noise_images(images: Tensor, seed: int = 0) -> Tensor:
    """Gaussian noise of mean 0 and standard deviation 1, in the units of normalized images.

    The noise of an image is drawn with a seed that depends on the image's values and on `seed`, so that it does not
    depend on the other images of the batch.

    Args:
        images: (N, C, H, W) images.
        seed: The seed.

    Returns:
        (N, C, H, W), on the device of the images.

    Example:
        >>> images = torch.rand(3, 3, 4, 4)
        >>> noise_images(images).shape, torch.equal(noise_images(images)[1:2], noise_images(images[1:2]))
        (torch.Size([3, 3, 4, 4]), True)
    """
    noise = torch.empty(images.shape)
    for place, each in enumerate(content_seeds(images, seed)):
        noise[place] = torch.randn(images.shape[1:], generator=torch.Generator().manual_seed(each))
    return noise.to(images)


def other_images(
    class_idx: Tensor, labels: Tensor | None, seed: int = 0, lenders: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """For each image of a batch, another one that does not show its class.

    Args:
        class_idx: (N,) explained classes.
        labels: (N,) labels, or (N, K), 1 for the classes that an image shows; `None` where they are unknown.
        seed: The seed of the choice; see `camtrain.controls.donors`.
        lenders: (N,) indices of images that are not chosen, one for each image: those that lent it their map. Over
            itself such a map would keep what shows another class, and would seem to leak less than one that knows
            nothing. `None` if each image has its own map.

    Returns:
        (N,) indices of the other images, and (N,) bool: whether the other image is of another class, both by its own
        explained class and by its label. In a batch where one class has more than half of the images it cannot be for
        all, and a batch of one image has no other.

    Example:
        >>> other_images(torch.tensor([0, 1]), None)
        (tensor([1, 0]), tensor([True, True]))
        >>> other_images(torch.tensor([0, 1]), torch.tensor([0, 0]))  # the second image is taken for a 1 and is a 0
        (tensor([1, 0]), tensor([False, True]))
        >>> other_images(torch.tensor([0, 0, 1, 1]), None, lenders=other_images(torch.tensor([0, 0, 1, 1]), None)[0])
        (tensor([2, 3, 0, 1]), tensor([True, True, True, True]))
    """
    if len(class_idx) < 2:
        return torch.arange(len(class_idx), device=class_idx.device), torch.zeros_like(class_idx, dtype=torch.bool)
    others = donors(class_idx, seed)
    if lenders is not None:
        others = torch.where(others == lenders, _second_choice(others, class_idx), others)
    foreign = class_idx[others] != class_idx
    if labels is not None:
        is_other = labels[others] != class_idx if labels.dim() == 1 else labels[others, class_idx] == 0
        foreign = foreign & is_other
    return others, foreign


def _second_choice(others: Tensor, class_idx: Tensor) -> Tensor:
    """(N,) for each image, what `others` has for the next image of its class; any third image if it is alone in it."""
    found = others.clone()
    everyone = torch.arange(len(others), device=others.device)
    for each in torch.unique(class_idx):
        mates = (class_idx == each).nonzero().squeeze(1)
        if len(mates) > 1:
            found[mates] = others[mates.roll(-1)]
        elif len(others) > 2:
            found[mates] = everyone[(everyone != mates) & (everyone != others[mates])][:1]
        else:
            found[mates] = mates
    return found


def _assembled(measured: Measured, shared: Sequence[Tensor], own: Sequence[Tensor]) -> Tensor:
    others, foreign = measured.others
    # What the network says about the other image is known already.
    plain = measured.batch.probabilities[others, measured.batch.class_idx]
    found = torch.stack([torch.stack([plain, *shared], dim=1), torch.stack([*own], dim=1)], dim=1)
    found[:, :, 0] = torch.where(foreign.unsqueeze(1), found[:, :, 0], torch.nan)
    return found


CONTENT_SCORES = ProbabilityNeed(
    name="content_scores",
    shared=lambda batch: [batch.noise],
    variants=lambda batch, measured: [
        masked_images(content, measured.cams) for content in (batch.images[measured.others[0]], batch.noise)
    ],
    assembled=_assembled,
)
"""(N, 2, 2) probabilities of the explained class: first on the content itself, then on content ⊙ map; of another image
(NaN where the batch has none of another class), then of noise."""
