"""An order of images in which the first k images are a stratified choice, for every k."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def stratified_order(labels: Sequence[int], seed: int) -> list[int]:
    """Indices of all images, in an order in which the first k are a stratified random choice, for every k.

    The m images of a class are shuffled, and the image of rank r gets the key `(r + u) / m`, where u is one random
    number in [0, 1) for the class. The images are sorted by their keys. Therefore the first k images hold the same
    fraction of every class as far as whole images allow, a class that is too rare for that comes in at random, and the
    choices for different k are nested.

    Args:
        labels: The class index of each image.
        seed: The seed of the order.

    Example:
        >>> order = stratified_order([0, 0, 0, 0, 1, 1], seed=0)
        >>> sum(index < 4 for index in order[:3]), sorted(order)
        (2, [0, 1, 2, 3, 4, 5])
    """
    random = np.random.default_rng(seed)
    classes = np.asarray(labels, dtype=np.int64)
    keys = np.empty(len(classes))
    for label in np.unique(classes):
        members = random.permutation(np.flatnonzero(classes == label))
        keys[members] = (np.arange(len(members)) + random.random()) / len(members)
    order: list[int] = np.argsort(keys, kind="stable").tolist()
    return order
