"""What the images of a data set are called in the names of files."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def image_id(samples: Any, index: int, root: str | Path | None = None) -> str:
    """The path of an image below the folder of all images, with forward slashes; its number where there is none.

    Args:
        samples: A data set, or one that changes the samples of another one in its attribute `samples`. It knows its
            images by an attribute `image_ids`, or by `files` with paths.
        index: The index of the sample.
        root: The folder of all images.

    Example:
        >>> from camtrain.data.image_file_samples import ImageFile, ImageFileSamples
        >>> samples = ImageFileSamples([ImageFile(Path("/photos/test/cat/1.png"), 0)])
        >>> image_id(samples, 0, "/photos"), image_id(samples, 0), image_id([7, 8], 1)
        ('test/cat/1.png', '1.png', '000001')
    """
    if hasattr(samples, "dataset") and hasattr(samples, "indices"):  # a subset of PyTorch
        return image_id(samples.dataset, samples.indices[index], root)
    if hasattr(samples, "image_ids"):
        return str(samples.image_ids[index])
    path = getattr(samples.files[index], "path", None) if hasattr(samples, "files") else None
    if path is not None:
        absolute, folder = Path(path).absolute(), None if root is None else Path(root).absolute()
        inside = folder is not None and absolute.is_relative_to(folder)
        return absolute.relative_to(folder).as_posix() if inside and folder is not None else absolute.name
    inner = getattr(samples, "samples", None)
    return f"{index:06d}" if inner is None or callable(inner) else image_id(inner, index, root)
