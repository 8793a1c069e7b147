"""A split into two parts that hold the same fraction of every class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.model_selection import train_test_split

from camtrain.messages import checked_fraction


def stratified_split(
    labels: Sequence[int], fraction: float, seed: int, argument: str = "val_fraction"
) -> tuple[list[int], list[int]]:
    """The indices that are kept and those that are held out, both ascending.

    Args:
        labels: The class index of each image.
        fraction: The fraction of the images that is held out, in (0, 1).
        seed: The seed of the split.
        argument: The name of the caller's argument for `fraction`, for messages.

    Raises:
        ValueError: If the fraction is out of range, or leaves a class without an image in one of the parts.

    Example:
        >>> kept, held_out = stratified_split([0, 0, 0, 0, 1, 1, 1, 1], fraction=0.5, seed=0)
        >>> sum(index < 4 for index in held_out), sorted(kept + held_out)
        (2, [0, 1, 2, 3, 4, 5, 6, 7])
    """
    checked_fraction(argument, fraction, zero=False, one=False)
    classes = set(labels)
    too_few = ValueError(
        f"`{argument}`: {fraction} of {len(labels)} images of {len(classes)} classes leaves some class without an "
        f"image on one side of the split"
    )
    try:
        kept, held_out = train_test_split(
            np.arange(len(labels)), test_size=fraction, stratify=np.asarray(labels), random_state=seed
        )
    except ValueError as error:
        raise too_few from error
    if any({labels[index] for index in part} != classes for part in (kept, held_out)):
        raise too_few
    return sorted(kept.tolist()), sorted(held_out.tolist())
