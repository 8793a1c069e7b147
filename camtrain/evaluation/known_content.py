"""What a data set knows of an image without decoding it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

_OF_FILE = ("label", "boxes", "classes", "group")
_IN_MEMORY = ("images", "labels", "boxes", "masks")


def known_content(samples: Any, index: int) -> list[Any]:
    """What tells that an image or its annotation is another one, as far as no image has to be decoded for it.

    Of image files these are their sizes in bytes, also those of mask files, the labels and the boxes; of tensors in
    memory all numbers. Nothing is known of other data sets.

    Args:
        samples: A data set, or one that changes the samples of another one in its attribute `samples`.
        index: The index of the sample.

    Example:
        >>> import torch
        >>> from torch.utils.data import Subset, TensorDataset
        >>> known_content(Subset(TensorDataset(torch.eye(2), torch.tensor([4, 7])), [1]), 0)
        [tensor([0., 1.]), tensor(7)]
        >>> known_content([torch.eye(2)], 0)
        []
    """
    if hasattr(samples, "dataset") and hasattr(samples, "indices"):  # a subset of PyTorch
        return known_content(samples.dataset, samples.indices[index])
    if hasattr(samples, "files"):
        file = samples.files[index]
        sizes = [_size(getattr(file, name, None)) for name in ("path", "mask")]
        return [getattr(file, name, None) for name in _OF_FILE] + sizes
    held = getattr(samples, "tensors", None) or [getattr(samples, name, None) for name in _IN_MEMORY]
    tensors = [each for each in held if isinstance(each, Tensor) and len(each) == len(samples)]
    if tensors:
        return [each[index] for each in tensors]
    inner = getattr(samples, "samples", None)
    if inner is None or callable(inner):
        return []
    annotated = getattr(samples, "annotated", None)  # the samples that keep their annotation
    return [*known_content(inner, index), *([] if annotated is None else [index in annotated])]


def _size(path: Any) -> int | None:
    """The number of bytes of a file; `None` if it is none."""
    try:
        return path.stat().st_size if isinstance(path, Path) else None
    except OSError:
        return None
