"""What a sample of a data set is called, in a message and in a table."""

from __future__ import annotations

from pathlib import Path
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
    path, number = _found(samples, index)
    return f"image {number}" if path is None else str(path)


def sample_path(samples: Any, index: int) -> Path | None:
    """The file of a sample; `None` where its data set does not know it, or it has none.

    Args:
        samples: As for `sample_name`.
        index: The index of the sample.
    """
    return _found(samples, index)[0]


def _found(samples: Any, index: int) -> tuple[Path | None, int]:
    """The file of a sample, and its index in the innermost data set that says which one it is."""
    if hasattr(samples, "dataset") and hasattr(samples, "indices"):  # a subset of PyTorch
        return _found(samples.dataset, samples.indices[index])
    path = getattr(samples.files[index], "path", None) if hasattr(samples, "files") else None
    if path is not None:
        return Path(path), index
    inner = getattr(samples, "samples", None)
    return (None, index) if inner is None or callable(inner) else _found(inner, index)
