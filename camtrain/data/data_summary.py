"""How many images, classes, boxes and masks a split has, counted without reading an image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.utils.data import Subset

from camtrain.data.annotated_samples import AnnotatedSamples
from camtrain.data.decoded_samples import DecodedSamples
from camtrain.data.dilated_boxes import DilatedBoxes
from camtrain.data.image_file_samples import ImageFile, ImageFileSamples
from camtrain.data.in_memory_samples import InMemorySamples
from camtrain.data.transformed_samples import Samples, TransformedSamples
from camtrain.data.whole_batches import WholeBatches
from camtrain.data.wsol_samples import WSOLSamples
from camtrain.messages import folded, folded_table

_LISTED = 5
_MOST_GROUPS = 12


@dataclass(frozen=True)
class SplitCounts:
    """What a split has.

    Attributes:
        images: The number of images.
        of_class: The number of images that show each class, by its index; `None` where that is not known.
        boxes: The number of boxes, with those around masks; `None` if images have none, or it is not known.
        boxed: The number of images with a box.
        masked: The number of images with a mask; `None` if images have none, or it is not known.
        of_group: The number of images of each group, by its index.
    """

    images: int
    of_class: Mapping[int, int] | None = None
    boxes: int | None = None
    boxed: int | None = None
    masked: int | None = None
    of_group: Mapping[int, int] = field(default_factory=dict)


def split_counts(samples: Samples, annotated: Collection[int] | None = None) -> SplitCounts:
    """What a data set has, as far as it knows that without reading an image.

    Args:
        samples: The data set; wrappers of the package are looked through.
        annotated: The indices of the samples whose boxes and masks count; `None` counts all.

    Example:
        >>> import torch
        >>> samples = InMemorySamples(torch.zeros(3, 3, 8, 8, dtype=torch.uint8), torch.tensor([4, 7, 4]))
        >>> split_counts(samples).of_class
        {4: 2, 7: 1}
    """
    if isinstance(samples, AnnotatedSamples):
        return split_counts(samples.samples, samples.annotated)
    if isinstance(samples, (TransformedSamples, DilatedBoxes, DecodedSamples, WholeBatches)):
        return split_counts(samples.samples, annotated)
    places: Sequence[int] = range(len(samples))
    whole: object = samples
    if isinstance(samples, Subset):
        places, whole = list(samples.indices), samples.dataset
    shown = [place for number, place in enumerate(places) if annotated is None or number in annotated]
    if isinstance(whole, WSOLSamples) and not whole.has_masks:
        whole = whole.samples
    if isinstance(whole, ImageFileSamples):
        return _of_files(whole, [whole.files[place] for place in places], [whole.files[place] for place in shown])
    known = getattr(whole, "labels", None)
    of_class = None if known is None else _of_labels([known[place] for place in places])
    if isinstance(whole, WSOLSamples):
        return SplitCounts(len(samples), of_class, masked=sum(bool(whole.images[place].masks) for place in shown))
    if not isinstance(whole, InMemorySamples):
        return SplitCounts(len(samples), of_class)
    boxed, masked = (None if part is None else len(shown) for part in (whole.boxes, whole.masks))
    return SplitCounts(len(samples), of_class, boxed, boxed, masked)


def _of_labels(labels: Sequence[Any]) -> dict[int, int]:
    """The number of images that show each class, from class indices, or from numbers (K,), 1 for what is shown."""
    shown = (
        (label >= 0.5).nonzero().flatten().tolist() if isinstance(label, Tensor) and label.dim() else [int(label)]
        for label in labels
    )
    return dict(sorted(Counter(index for of_image in shown for index in of_image).items()))


def _of_files(samples: ImageFileSamples, files: Sequence[ImageFile], shown: Sequence[ImageFile]) -> SplitCounts:
    of_class = Counter(label for file in files for label in _labels(file, samples))
    boxes = [len(file.boxes) or int(file.mask is not None) for file in shown]
    return SplitCounts(
        len(files),
        dict(sorted(of_class.items())),
        sum(boxes) if samples.has_boxes else None,
        sum(map(bool, boxes)) if samples.has_boxes else None,
        sum(file.mask is not None for file in shown) if samples.has_masks else None,
        dict(sorted(Counter(file.group for file in files if file.group is not None).items())),
    )


def _labels(file: ImageFile, samples: ImageFileSamples) -> Sequence[int]:
    return (file.classes or (file.label,)) if samples.num_classes is not None else (file.label,)


def summary_table(
    counts: Mapping[str, SplitCounts], class_names: Sequence[str], group_names: Sequence[str] | None = None
) -> str:
    """The counts as a text table; below it are the images of each group, and classes and groups that a split lacks.

    Args:
        counts: The counts by split.
        class_names: The names of the classes, in the order of their indices.
        group_names: The names of the groups, if there are any.

    Example:
        >>> print(summary_table({"train": SplitCounts(9, {0: 4, 1: 5}, 3, 2), "val": SplitCounts(1, {0: 1})}, "ab"))
        split    images    classes    boxes    images with boxes    images with masks
        -------  --------  ---------  -------  -------------------  -------------------
        train    9         2 of 2     3        2                    –
        val      1         1 of 2     –        –                    –
        val has no image of 'b'
    """
    rows = [
        [
            split,
            str(each.images),
            "–" if each.of_class is None else f"{len(each.of_class)} of {len(class_names)}",
            *("–" if number is None else str(number) for number in (each.boxes, each.boxed, each.masked)),
        ]
        for split, each in counts.items()
    ]
    header = ["split", "images", "classes", "boxes", "images with boxes", "images with masks"]
    names = group_names or ()
    lines = [_of_groups(split, each, names) for split, each in counts.items() if each.of_group]
    lines += [line for split, each in counts.items() for line in _missing(split, each, class_names, names)]
    return "\n".join([folded_table(header, rows), *map(folded, lines)])


def _of_groups(split: str, counts: SplitCounts, names: Sequence[str]) -> str:
    found = [f"{number} of {names[index]!r}" for index, number in counts.of_group.items() if index < len(names)]
    more = f" and {len(found) - _MOST_GROUPS} more groups" if len(found) > _MOST_GROUPS else ""
    return f"{split} has {', '.join(found[:_MOST_GROUPS])}{more}"


def _missing(split: str, counts: SplitCounts, classes: Sequence[str], groups: Sequence[str]) -> list[str]:
    lines = []
    for names, found in ((classes, counts.of_class), (groups, counts.of_group)):
        lacking = [repr(name) for index, name in enumerate(names) if found is not None and index not in found]
        if lacking:
            more = f" and {len(lacking) - _LISTED} more" if len(lacking) > _LISTED else ""
            lines.append(f"{split} has no image of {', '.join(lacking[:_LISTED])}{more}")
    return lines
