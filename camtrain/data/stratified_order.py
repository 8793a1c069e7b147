"""An order of images whose every beginning has the same share of every class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def stratified_order(labels: Sequence[int], seed: int) -> list[int]:
    """Indices of all images, so ordered that the first k of them are a stratified random choice, whatever k.

    The images of a class of m are shuffled, and the one of rank r gets the key `(r + u) / m`, where u is one random
    number in [0, 1) for the class; the order is that of the keys. So any beginning holds the same share of every class
    as far as whole images allow, a class too rare to have one in each beginning comes in at random, and choices of
    different sizes are nested.

    Args:
        labels: class index of each image.
        seed: the same seed gives the same order.

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
