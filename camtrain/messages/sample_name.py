"""What a sample of a data set is called in a message."""

from __future__ import annotations

from typing import Any


def sample_name(samples: Any, index: int) -> str:
    """The file of a sample, where its data set knows it; otherwise its index.

    Args:
        samples: A data set, or one that changes the samples of another one in its attribute `samples`.
        index: The index of the sample.

    Example:
        >>> from pathlib import Path
        >>> from torch.utils.data import Subset
        >>> from camtrain.data.image_file_samples import ImageFile, ImageFileSamples
        >>> samples = ImageFileSamples([ImageFile(Path("a.png"), 0), ImageFile(Path("b.png"), 1)])
        >>> sample_name(Subset(samples, [1]), 0), sample_name([7, 8], 1)
        ('b.png', 'image 1')
    """
    if hasattr(samples, "dataset") and hasattr(samples, "indices"):  # a subset of PyTorch
        return sample_name(samples.dataset, samples.indices[index])
    path = getattr(samples.files[index], "path", None) if hasattr(samples, "files") else None
    if path is not None:
        return str(path)
    inner = getattr(samples, "samples", None)
    return f"image {index}" if inner is None or callable(inner) else sample_name(inner, index)
