"""What a data module knows of the files that are explained: label, boxes and mask."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from camtrain.messages import CamtrainWarning

_SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class KnownObject:
    """What is known of an image file.

    Attributes:
        label: The name of its class, or of all that it shows; `None` where they are not known.
        boxes: (M, 4), xyxy in pixels of the image as it is shown; `None` where they are not known.
        mask: (H, W) bool of the image as it is shown; `None` where it is not known.
    """

    label: str | None = None
    boxes: Tensor | None = None
    mask: Tensor | None = None


class KnownObjects:
    """Labels, boxes and masks by image file.

    Args:
        data: A data module whose samples have `files`, such as `camtrain.data.ImageFolderData`. Of any other one, and
            of `None`, nothing is known.
    """

    def __init__(self, data: Any = None) -> None:
        self._data = data

    def of(self, path: Path, size: tuple[int, int]) -> KnownObject:
        """What is known of a file.

        Args:
            path: The file.
            size: The height and width of its image as it is shown.

        Warns:
            CamtrainWarning: If the files of the data module, or the boxes or the mask, cannot be read.
        """
        found = self._files.get(path.resolve())
        if found is None:
            return KnownObject()
        file, samples = found
        boxes = mask = None
        try:
            boxes = samples.boxes_of(file, size) if file.boxes else None
            mask = None if file.mask is None else samples.mask_of(file, size)
        except (ValueError, OSError) as error:
            said = f"boxes and mask of {path} are not drawn: {error}"
            warnings.warn(said, CamtrainWarning, stacklevel=5)
        classes = file.classes if getattr(samples, "num_classes", None) else ()
        return KnownObject(_class_names(self._data, classes or (file.label,)), boxes, mask)

    @cached_property
    def _files(self) -> dict[Path, tuple[Any, Any]]:
        """Each file that the data module knows, with the samples that it belongs to."""
        found: dict[Path, tuple[Any, Any]] = {}
        try:
            for samples in _sample_sets(self._data):
                for file in samples.files:
                    found.setdefault(Path(file.path).resolve(), (file, samples))
        except (ValueError, OSError) as error:
            said = f"labels, boxes and masks are not shown: {error}"
            warnings.warn(said, CamtrainWarning, stacklevel=6)
        return found


def _sample_sets(data: Any) -> Iterator[Any]:
    """The samples of each split, if they are of image files."""
    for split in _SPLITS if hasattr(data, "samples") else ():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of splits, which do not matter here
            samples = data.samples(split)
        if not (hasattr(samples, "files") and hasattr(samples, "boxes_of")):
            return  # nor are the other splits'
        yield samples


def _class_names(data: Any, labels: Sequence[int]) -> str | None:
    names = getattr(data, "class_names", None)
    known = [str(names[label]) for label in labels if 0 <= label < len(names)] if names is not None else []
    return "; ".join(known) or None
