"""The images of an evaluation, from a data module, a loader or an iterable."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from camtrain.batch import Batch, evenly_spaced, spread_parts
from camtrain.evaluation.evaluation_plan import Split
from camtrain.evaluation.evaluation_settings import Parts
from camtrain.evaluation.image_ids import image_id
from camtrain.evaluation.known_content import known_content
from camtrain.evaluation.shown_image import ShownImage, shown_images
from camtrain.fingerprint import fingerprint, tensor_bytes
from camtrain.messages import sample_name, sample_path
from camtrain.pictures import denormalized


class NoImagesError(ValueError):
    """A data module has no images of a split, none that can be read by index, or none of its own."""


@dataclass(frozen=True)
class PartOfImages:
    """A few images that are evaluated together.

    Attributes:
        indices: The indices of the images in the data set.
        read: Reads the images; not called for images that were evaluated before.
        content: Tells whether the images, or what is known about them, are others than before, as far as they need not
            be decoded for it: a hash.
    """

    indices: list[int]
    read: Callable[[], Batch]
    content: Callable[[], str]


class ImageSource(Protocol):
    """Images in a fixed order, in parts.

    Attributes:
        title: What the images are, as a table names them.
        num_images: The number of images; `None` where it is not known beforehand.
        num_classes: The number of classes of the labels; `None` where it is not known.
    """

    title: str
    num_images: int | None
    num_classes: int | None

    def parts(self) -> Iterator[PartOfImages]:
        """All images, part by part, always the same."""

    def shown(self, indices: Sequence[int]) -> list[ShownImage]:
        """What some of the images look like, with their boxes and masks, where these are known."""

    def names(self, indices: Sequence[int]) -> list[str]:
        """What some of the images are called in a message: their files, where these are known."""

    def image_ids(self, indices: Sequence[int]) -> list[str]:
        """The paths of some of the images below the folder of all images, or their numbers, to name files by."""

    def paths(self, indices: Sequence[int]) -> list[str]:
        """The files of some of the images; empty for an image without a known one."""

    def identity(self) -> dict[str, Any]:
        """What tells these images from others, as JSON can hold it."""


def image_source(
    data: Any, split: Split, num_images: int | None, batch_size: int, parts: Parts = "given"
) -> ImageSource:
    """The images of a data module, a loader, or anything that yields batches.

    Args:
        data: A Lightning data module; a `DataLoader`, whose data set is read by index without its sampler; an iterable
            of `Batch`, of (images, labels) or of images; or an image source, which is returned.
        split: The images of a data module that are meant.
        num_images: The number of images, evenly spaced over a data set with indices; of an iterable the first ones.
            `None` takes all.
        batch_size: The largest number of images in a part.
        parts: Which images are in a part; see `EvaluationSettings`.

    Raises:
        ValueError: If there are no such images, or `split` is another word.
        TypeError: If it is none of these.
    """
    if isinstance(data, (_IndexedImages, _IteratedImages)):
        return data
    if split not in ("test", "val"):
        raise ValueError(f'`split`: expected "test" or "val", got {split!r}')
    if hasattr(data, "setup") and hasattr(data, f"{split}_dataloader"):
        return _of_data_module(data, split, num_images, batch_size, parts)
    if isinstance(data, DataLoader) and not isinstance(data.dataset, IterableDataset):
        title = f"images of {type(data.dataset).__name__}"
        return _IndexedImages(data, title, data.dataset, num_images, batch_size, parts)
    if isinstance(data, (Tensor, str, bytes, dict)) or not isinstance(data, Iterable):
        raise TypeError(
            "`data`: expected a data module, a DataLoader, or an iterable of batches such as [(images, labels)], "
            f"got {type(data).__name__}"
        )
    return _IteratedImages(data, num_images, batch_size)


def validates_on_test_images(data: Any) -> bool:
    """Whether the validation images of a data module are its test images: as many, and the same where they are read.

    Args:
        data: A Lightning data module.

    Raises:
        NoImagesError: If it has no images of a split.
    """
    validation, test = (image_source(data, split, None, batch_size=1).identity() for split in ("val", "test"))
    return all(validation[key] == test[key] for key in ("images", "content"))


def _of_data_module(data: Any, split: Split, num_images: int | None, batch_size: int, parts: Parts) -> ImageSource:
    from lightning_fabric.utilities.exceptions import MisconfigurationException  # only where Lightning is used anyway

    name = type(data).__name__
    data.prepare_data()
    data.setup("test" if split == "test" else "validate")
    try:
        loader: Any = data.test_dataloader() if split == "test" else data.val_dataloader()
    except MisconfigurationException as error:  # Lightning's own data module says it instead of giving a loader
        raise NoImagesError(f"`split`: {name} has no {split} images: {error}") from error
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        raise NoImagesError(
            f"`split`: expected one DataLoader over a data set with indices from {name}.{split}_dataloader, got "
            f"{type(loader).__name__}"
        )
    return _IndexedImages(loader, f"{split} images of {name}", data, num_images, batch_size, parts, split)


class _IndexedImages:
    """Images that are read by index, through the `collate_fn` of their loader.

    Args:
        loader: Over a data set with indices.
        title: What the images are.
        data: A data module or data set that may know `denormalize`, `num_classes`, `mean` and `std`.
        num_images: The number of images, evenly spaced; `None` takes all.
        batch_size: The largest number of images in a part.
        parts: Which images are in a part.
        split: The split of a data module, for messages.
    """

    def __init__(
        self,
        loader: DataLoader[Any],
        title: str,
        data: Any,
        num_images: int | None,
        batch_size: int,
        parts: Parts,
        split: str = "",
    ) -> None:
        self.title = title
        self.num_classes: int | None = getattr(data, "num_classes", None)
        self._data, self._samples, self._collate = data, loader.dataset, loader.collate_fn
        total = len(self._samples)  # type: ignore[arg-type]
        if total == 0:
            raise NoImagesError(f"`split`: there are no {split} images" if split else "`data`: there are no images")
        self._total = total
        self._indices = evenly_spaced(total, total if num_images is None else num_images)
        self.num_images: int | None = len(self._indices)
        self._batch_size = batch_size
        if parts == "spread":
            self._parts = spread_parts(self._indices, batch_size)
        else:
            starts = range(0, len(self._indices), batch_size)
            self._parts = [self._indices[start : start + batch_size] for start in starts]

    def parts(self) -> Iterator[PartOfImages]:
        """See `EvaluationSettings.parts`; no part is larger than the batch size."""
        for indices in self._parts:
            yield PartOfImages(indices, partial(self._read, indices), partial(self._content, indices))

    def shown(self, indices: Sequence[int]) -> list[ShownImage]:
        """Read again, one at a time."""
        with torch.no_grad():
            return [self._shown(index) for index in indices]

    def names(self, indices: Sequence[int]) -> list[str]:
        """Their files, or their indices."""
        return [sample_name(self._samples, index) for index in indices]

    def image_ids(self, indices: Sequence[int]) -> list[str]:
        """Their paths below the attribute `root` of the data module, or below the folder of all images; or indices."""
        return [image_id(self._samples, index, self._root) for index in indices]

    @cached_property
    def _root(self) -> Any:
        """The folder of all images, or else the deepest one that they are all in.

        Names alone would be those of several images: `cat/1.jpg` and `dog/1.jpg` are called the same.
        """
        paths = (sample_path(self._samples, index) for index in range(self._total))
        folders = {path.absolute().parent for path in paths if path is not None}
        common = os.path.commonpath(folders) if folders else None
        known = getattr(self._data, "root", None)
        is_above = known is not None and common is not None and Path(common).is_relative_to(Path(known).absolute())
        return known if is_above else common

    def paths(self, indices: Sequence[int]) -> list[str]:
        """Their files, where the data set knows them."""
        return [str(sample_path(self._samples, index) or "") for index in indices]

    def identity(self) -> dict[str, Any]:
        """Title, indices, normalization, and a few of the images themselves."""
        said = {name: getattr(self._data, name, None) for name in ("mean", "std")}
        normalization = {
            name: None if each is None else torch.as_tensor(each, dtype=torch.float64).flatten().tolist()
            for name, each in said.items()
        }
        looked_at = [self._indices[place] for place in evenly_spaced(len(self._indices), 4)]
        return {
            "data": f"{self.title}, {self._total} in all",
            "normalization": normalization,
            "images": self._indices,
            "content": content_hash(self._read(looked_at)) if looked_at else "",
            "batch_size": self._batch_size,
        }

    def _shown(self, index: int) -> ShownImage:
        batch, path = self._read([index]), sample_path(self._samples, index)
        name = sample_name(self._samples, index) if path is None else path.name
        return shown_images([name], [denormalized(batch.images, self._data)[0]], batch)[0]

    def _content(self, indices: Sequence[int]) -> str:
        return fingerprint([known_content(self._samples, index) for index in indices])

    def _read(self, indices: Sequence[int]) -> Batch:
        return _checked(self._collate([self._samples[index] for index in indices]))


class _IteratedImages:
    """Images that come in batches, numbered in the order in which they come.

    Args:
        data: An iterable of batches. Batches of an iterator, which can be read only once, are kept in memory.
        num_images: The number of images, the first ones; `None` takes all.
        batch_size: The largest number of images in a part.
    """

    def __init__(self, data: Iterable[Any], num_images: int | None, batch_size: int) -> None:
        self._limit, self._batch_size = num_images, batch_size
        self._data: Iterable[Any] = data
        if iter(data) is data:
            self._data = [batch for _, batch in self._batches()]
        self.title = "images"
        self.num_images = num_images
        self.num_classes: int | None = getattr(data, "num_classes", None)

    def parts(self) -> Iterator[PartOfImages]:
        """The batches as they come, cut to the batch size."""
        for start, batch in self._batches():
            indices = [*range(start, start + len(batch))]
            yield PartOfImages(indices, lambda batch=batch: batch, partial(content_hash, batch))  # type: ignore[misc]

    def shown(self, indices: Sequence[int]) -> list[ShownImage]:
        """From their own minimum to their own maximum, found by reading the images again."""
        wanted: set[int] = set(indices)
        found: dict[int, ShownImage] = {}
        for start, batch in self._batches():
            for place in range(len(batch)):
                if start + place in wanted:
                    one = batch.subset([place])
                    found[start + place] = shown_images(
                        self.names([start + place]), [denormalized(one.images)[0]], one
                    )[0]
            if len(found) == len(wanted):
                break
        return [found[index] for index in indices]

    def names(self, indices: Sequence[int]) -> list[str]:
        """Their numbers, from 0 in the order in which they come."""
        return [f"image {index}" for index in indices]

    def image_ids(self, indices: Sequence[int]) -> list[str]:
        """Their numbers, from 000000 in the order in which they come."""
        return [f"{index:06d}" for index in indices]

    def paths(self, indices: Sequence[int]) -> list[str]:
        """None is known."""
        return ["" for _ in indices]

    def identity(self) -> dict[str, Any]:
        """The first part itself."""
        first = next(self._batches(), None)
        if first is None:
            raise ValueError("`data`: there are no images")
        return {
            "data": self.title,
            "images": self._limit,
            "content": content_hash(first[1]),
            "batch_size": self._batch_size,
        }

    def _batches(self) -> Iterator[tuple[int, Batch]]:
        start = 0
        for item in self._data:
            whole = _checked(item)
            for begin in range(0, len(whole), self._batch_size):
                left = len(whole) if self._limit is None else self._limit - start
                end = min(begin + self._batch_size, len(whole), begin + left)
                yield start, whole.subset(range(begin, end))
                start += end - begin
                if start == self._limit:  # a further batch is not asked for: the iterable may have no end
                    return


def _checked(item: Any) -> Batch:
    """A batch, if it can be evaluated.

    Raises:
        TypeError: If it is no batch.
        ValueError: If its images have another shape, its labels, boxes, masks or ignored pixels another number, or
            masks or ignored pixels another size or type.
    """
    try:
        batch = Batch.of(item)
    except TypeError as error:
        raise TypeError(
            "`data`: expected batches, each a camtrain.batch.Batch, a pair of tensors (images, labels), or images, got "
            f"{type(item).__name__}"
        ) from error
    images = batch.images
    if images.dim() != 4 or not images.is_floating_point():
        raise ValueError(
            f"`data`: expected batches of floating point images (N, C, H, W), such as [(images, labels)], got one of "
            f"{images.dtype} {tuple(images.shape)}"
        )
    labels = batch.labels
    if labels is not None and not _are_labels(labels):
        raise ValueError(
            "`data`: expected integer labels (N,), or floating point labels (N, K), 1 for the classes that an image "
            f"shows, got {labels.dtype} of shape {tuple(labels.shape)}"
        )
    for name in ("labels", "boxes", "masks", "ignored"):
        known = getattr(batch, name)
        if known is not None and len(known) != len(images):
            raise ValueError(f"`data`: expected {name} of {len(images)} images, got those of {len(known)}")
    size = (len(images), *images.shape[2:])
    for name, known in (("masks", batch.masks), ("ignored", batch.ignored)):
        if known is not None and (known.dtype != torch.bool or tuple(known.shape) != size):
            raise ValueError(
                f"`data`: expected {name} as bool (N, H, W) of the size of the images, {size}, got {known.dtype} of "
                f"shape {tuple(known.shape)}"
            )
    return batch


def _are_labels(labels: Tensor) -> bool:
    if labels.dim() == 2:
        return labels.is_floating_point()
    return labels.dim() == 1 and not labels.is_floating_point() and not labels.is_complex()


def content_hash(batch: Batch) -> str:
    """A hash of a batch: its images, and what is known about them.

    Example:
        >>> one, other = Batch(torch.zeros(1, 3, 4, 4)), Batch(torch.zeros(1, 3, 4, 4), torch.tensor([1]))
        >>> content_hash(one) == content_hash(Batch(one.images.clone())), content_hash(one) == content_hash(other)
        (True, False)
    """
    digest = hashlib.sha256()
    for part in (batch.images, batch.labels, *(batch.boxes or ()), batch.masks):
        digest.update(b"-" if part is None else tensor_bytes(part))
    if batch.ignored is not None:  # without any, the hash is that of an earlier version, which knew none
        digest.update(tensor_bytes(batch.ignored))
    return digest.hexdigest()[:16]
