"""Which other image of a batch lends an image its map, or its content."""

from __future__ import annotations

import torch
from torch import Tensor


def donors(class_idx: Tensor, seed: int = 0) -> Tensor:
    """Another image for each image of a batch: no image gets itself, and each is given once.

    As many images as possible get one of another class; all of them do if no class has more than half of the images.
    The images are put in order class by class, at random within a class and among the classes, and each gets the image
    that is as many places further as the largest class has images.

    Args:
        class_idx: (N,) classes.
        seed: The seed of the two orders.

    Returns:
        (N,) indices, on the device of `class_idx`.

    Raises:
        ValueError: If there is only one image.

    Example:
        >>> classes = torch.tensor([0, 0, 1, 1, 2])
        >>> others = donors(classes)
        >>> sorted(others.tolist()), bool((classes[others] == classes).any())
        ([0, 1, 2, 3, 4], False)
    """
    classes = class_idx.detach().cpu()
    count = len(classes)
    if count == 1:
        raise ValueError("`images`: expected at least two, so that each has another one, got 1")
    if count == 0:
        return class_idx.new_zeros(0, dtype=torch.long)
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randperm(count, generator=generator)
    _, own, sizes = torch.unique(classes, return_inverse=True, return_counts=True)
    rank = torch.randperm(len(sizes), generator=generator)[own]
    order = drawn[rank[drawn].argsort(stable=True)]
    shift = int(sizes.max()) % count or 1
    found = torch.empty(count, dtype=torch.long)
    found[order] = order.roll(-shift)
    return found.to(class_idx.device)
