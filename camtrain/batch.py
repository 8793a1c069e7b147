"""What a data module yields and everything above consumes: one batch of images with what is known about them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NotRequired, TypedDict

import torch
from torch import Tensor
from torchvision import tv_tensors

from camtrain.messages import DataError

# What is easily written for a key of a sample, and would be left out without a word.
_MISTAKEN = {"masks": "mask", "box": "boxes", "bbox": "boxes", "bboxes": "boxes", "groups": "group"}


class Sample(TypedDict):
    """One data set item, a dict so that `torchvision.transforms.v2` moves image, boxes and mask together.

    `label` is a class index, or, where images show several classes or none, (K,) float: 1 for those that it shows.
    `boxes` are (M, 4) xyxy pixels, half-open. Absent, or M = 0: unknown.
    `mask` is (H, W) bool, true on the object. Absent, or nowhere true: unknown.
    If only some images of a data set are annotated, the others need M = 0 or a mask that is nowhere true: a batch of
    samples without any of both is one of data without annotation, which a regularizer that needs it refuses.
    `ignored` is (H, W) bool, true on pixels of which nobody knows whether they show the object. Absent: nowhere.
    `group` is the index of the group of images that it belongs to. Absent: there are no groups.
    """

    image: Tensor
    label: int | Tensor
    boxes: NotRequired[tv_tensors.BoundingBoxes]
    mask: NotRequired[tv_tensors.Mask]
    ignored: NotRequired[tv_tensors.Mask]
    group: NotRequired[int]


@dataclass
class Batch:
    """A batch of N images with their labels and, where known, where their objects are.

    Attributes:
        images: (N, C, H, W) float, normalized as the network expects.
        labels: (N,) int64 class indices; or (N, K) float, 1 for the classes that an image shows and 0 for the others;
            `None` where they are unknown (prediction).
        boxes: one (M_i, 4) tensor per image, xyxy pixels, half-open; M_i = 0 says that the image has no known box.
            `None` if no image of the data set has any.
        masks: (N, H, W) bool, true on the object; nowhere true says that the image has no known mask.
            `None` if no image of the data set has any.
        ignored: (N, H, W) bool, true on pixels of which nobody knows whether they show the object;
            `PixelAveragePrecision` leaves them out. `None` if there are none.
        groups: (N,) int64, the group of images that each belongs to, such as birds of a kind before water; `None` if
            the data set has no groups.

    Example:
        >>> batch = Batch.of((torch.zeros(2, 3, 8, 8), torch.tensor([0, 1])))
        >>> len(batch), batch.boxes is None
        (2, True)
    """

    images: Tensor
    labels: Tensor | None = None
    boxes: list[Tensor] | None = None
    masks: Tensor | None = None
    ignored: Tensor | None = None
    groups: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)

    @classmethod
    def of(cls, batch: Any) -> Batch:
        """The batch itself, or a batch made of what a user's own loader yields.

        Args:
            batch: a `Batch`, an `(images, labels)` pair, or the images alone.

        Raises:
            TypeError: If it is none of these.
        """
        if isinstance(batch, cls):
            return batch
        if isinstance(batch, Tensor):
            return cls(batch)
        if isinstance(batch, (tuple, list)) and len(batch) == 2 and all(isinstance(part, Tensor) for part in batch):
            return cls(*batch)
        raise TypeError(
            "`batch`: expected a camtrain.batch.Batch, a pair of tensors (images, labels), or the images alone, "
            f"got {type(batch).__name__}"
        )

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on a device.

        Args:
            device: The device. A GPU copies pinned memory while Python goes on.

        Example:
            >>> Batch(torch.zeros(2, 3, 8, 8)).to("cpu").images.device
            device(type='cpu')
        """
        # Only towards a GPU: what comes back could be read before it is there.
        to_gpu = torch.device(device).type == "cuda"

        def moved(part: Tensor) -> Tensor:
            return part.to(device, non_blocking=to_gpu)

        return Batch(
            moved(self.images),
            None if self.labels is None else moved(self.labels),
            None if self.boxes is None else [moved(boxes) for boxes in self.boxes],
            None if self.masks is None else moved(self.masks),
            ignored=None if self.ignored is None else moved(self.ignored),
            groups=None if self.groups is None else moved(self.groups),
        )

    def subset(self, indices: Sequence[int]) -> Batch:
        """A copy of some of the images, with what is known about them.

        Args:
            indices: Positions in this batch, in the order wanted.

        Example:
            >>> Batch(torch.zeros(4, 3, 8, 8), torch.arange(4)).subset([3, 1]).labels
            tensor([3, 1])
        """
        places = torch.tensor(list(indices), dtype=torch.long)
        return Batch(
            _rows(self.images, places),
            None if self.labels is None else _rows(self.labels, places),
            None if self.boxes is None else [self.boxes[place].clone() for place in places.tolist()],
            None if self.masks is None else _rows(self.masks, places),
            ignored=None if self.ignored is None else _rows(self.ignored, places),
            groups=None if self.groups is None else _rows(self.groups, places),
        )

    def pin_memory(self) -> Batch:
        """Called by `torch.utils.data.DataLoader(pin_memory=True)`."""
        return Batch(
            self.images.pin_memory(),
            None if self.labels is None else self.labels.pin_memory(),
            None if self.boxes is None else [boxes.pin_memory() for boxes in self.boxes],
            None if self.masks is None else self.masks.pin_memory(),
            ignored=None if self.ignored is None else self.ignored.pin_memory(),
            groups=None if self.groups is None else self.groups.pin_memory(),
        )


def _rows(part: Tensor, places: Tensor) -> Tensor:
    # For rows of thousands of numbers, some 20 times as fast as `part[places]`.
    return part.index_select(0, places.to(part.device))


def evenly_spaced(total: int, count: int) -> list[int]:
    """At most `count` different indices below `total`, each in the middle of its share.

    Example:
        >>> evenly_spaced(10, 3), evenly_spaced(2, 3)
        ([1, 5, 8], [0, 1])
    """
    count = min(total, count)
    return [(2 * k + 1) * total // (2 * count) for k in range(count)]


def spread_parts(indices: Sequence[int], size: int) -> list[list[int]]:
    """Deal indices out in turn to as few parts as need be, of at most `size`: each has some from all over.

    So images that are in the order of their classes meet images of other classes.

    Example:
        >>> spread_parts(range(10), 4)
        [[0, 3, 6, 9], [1, 4, 7], [2, 5, 8]]
    """
    count = -(-len(indices) // size)
    return [list(indices[start::count]) for start in range(count)]


def finite_images(images: Tensor) -> Tensor:
    """(N,) bool: the images (N, ...) all of whose values are finite.

    Example:
        >>> finite_images(torch.tensor([[0.0, 1.0], [torch.nan, 1.0]]))
        tensor([ True, False])
    """
    return images.isfinite().flatten(1).all(dim=1)


def are_finite(values: Tensor) -> bool:
    """Whether all values are finite; on the CPU as fast as one read of them, some 20 times as fast as `isfinite`.

    Example:
        >>> are_finite(torch.tensor([1e30, -1e30])), are_finite(torch.tensor([1.0, torch.inf]))
        (True, False)
    """
    flat = values.detach().as_subclass(Tensor).flatten()
    is_fast = flat.device.type == "cpu" and flat.dtype in (torch.float32, torch.float64)
    # A sum of squares is finite unless a value is not, or is so large that its square is not.
    if is_fast and math.isfinite(float(torch.dot(flat, flat))):
        return True
    return bool(flat.isfinite().all())


def check_images(images: object, *, at_least_one: bool = False) -> None:
    """Check that an argument is a batch of images.

    Args:
        images: The argument.
        at_least_one: Whether an empty batch is refused, as where a mean over its images is taken.

    Raises:
        TypeError: If it is no floating-point tensor.
        ValueError: If it has another shape than (N, C, H, W), or N = 0 although at least one image is needed.

    Example:
        >>> check_images(torch.rand(3, 8, 8))
        Traceback (most recent call last):
        ValueError: `images`: expected floating-point images (N, C, H, W), got torch.float32 of shape (3, 8, 8);
        images.unsqueeze(0) makes a batch of one image
    """
    expected = "`images`: expected floating-point images (N, C, H, W)"
    if not isinstance(images, Tensor):
        raise TypeError(f"{expected}, got {type(images).__name__}{_way_to_a_tensor(images)}")
    got = f"got {images.dtype} of shape {tuple(images.shape)}"
    if not images.is_floating_point():
        raise TypeError(f"{expected}, {got}; the network expects them as in its training, such as images.float() / 255")
    if images.dim() != 4:
        hint = "; images.unsqueeze(0) makes a batch of one image" if images.dim() == 3 else ""
        raise ValueError(f"{expected}, {got}{hint}")
    if at_least_one and not len(images):
        raise ValueError(f"`images`: expected at least one image, got an empty batch of shape {tuple(images.shape)}")


def _way_to_a_tensor(images: object) -> str:
    """What makes a batch of an argument that is no tensor, as the end of a message."""
    if isinstance(images, (list, tuple)) and images and all(isinstance(each, Tensor) for each in images):
        return "; torch.stack(images) makes a batch of images of one size"
    if hasattr(images, "__array__") or hasattr(images, "__array_interface__"):  # an array, or an image of Pillow
        return "; make a tensor of it and prepare it as in the network's training"
    return ""


def check_finite_images(images: Tensor) -> None:
    """Check that no image of a batch (N, ...) holds NaN or infinity.

    Raises:
        DataError: If one does, with its place in the batch; it is a `ValueError`.

    Example:
        >>> check_finite_images(torch.tensor([[0.0, 1.0], [torch.nan, 1.0]]))
        Traceback (most recent call last):
        camtrain.messages.data_error.DataError: `images`: expected finite values, got NaN or infinity in image 1 of 2
    """
    if are_finite(images):
        return
    wrong = (~finite_images(images.detach())).nonzero().flatten().tolist()
    named = ", ".join(map(str, wrong[:5])) + (f" and {len(wrong) - 5} more" if len(wrong) > 5 else "")
    raise DataError(
        f"`images`: expected finite values, got NaN or infinity in image{'s' * (len(wrong) > 1)} {named} of "
        f"{len(images)}"
    )


def collate(samples: Sequence[Sample] | Batch) -> Batch:
    """Stack samples of one size into a batch.

    Where some samples of a batch have boxes (or a mask, or ignored pixels) and others do not, the others get none of
    them: M_i = 0 boxes, or a mask that is nowhere true.

    Args:
        samples: The samples; or the batch that a data set has made of them already, which is returned as it is.

    Raises:
        DataError: If the samples are not of one size, only some have a group, or one has its annotation under a key
            that is easily mistaken, such as `bbox`; it is a `ValueError`.

    Example:
        >>> batch = collate([{"image": torch.zeros(3, 8, 8), "label": 1}, {"image": torch.zeros(3, 8, 8), "label": 0}])
        >>> batch.images.shape, batch.labels
        (torch.Size([2, 3, 8, 8]), tensor([1, 0]))
    """
    if isinstance(samples, Batch):
        return samples
    shapes = list(dict.fromkeys(tuple(sample["image"].shape) for sample in samples))
    if len(shapes) > 1:
        raise DataError(
            f"expected images of one shape in a batch, got {shapes[0]} and {shapes[1]} (channels, height, width); "
            "scale or crop them with a transform"
        )
    return batch_of(torch.stack([sample["image"].as_subclass(Tensor) for sample in samples]), samples)


def batch_of(images: Tensor, samples: Sequence[Sample]) -> Batch:
    """A batch of images that are stacked already, with what samples know about them; otherwise as `collate`.

    Args:
        images: (N, C, H, W) of any type.
        samples: The sample of each image.

    Raises:
        DataError: As `collate`.
    """
    labels = torch.stack([torch.as_tensor(sample["label"]) for sample in samples])
    labels = labels if labels.dim() == 1 else labels.float()
    _check_keys(samples)
    groups = _groups(samples)
    size = (int(images.shape[-2]), int(images.shape[-1]))
    boxes: list[Tensor] | None = None
    if any("boxes" in sample for sample in samples):
        none = tv_tensors.BoundingBoxes(torch.zeros(0, 4), format="XYXY", canvas_size=size)
        boxes = [sample.get("boxes", none) for sample in samples]
    masks, ignored = (_stacked(samples, key, size) for key in ("mask", "ignored"))
    return Batch(images, labels, boxes, masks, ignored=ignored, groups=groups)


def _check_keys(samples: Sequence[Sample]) -> None:
    for given, expected in _MISTAKEN.items():
        if any(given in sample and expected not in sample for sample in samples):
            raise DataError(f"expected the annotation of a sample under the key {expected!r}, got {given!r}")


def _groups(samples: Sequence[Sample]) -> Tensor | None:
    """(N,) the group of each sample; `None` where no sample has one."""
    found = [sample["group"] for sample in samples if "group" in sample]
    if found and len(found) < len(samples):
        raise DataError(f"expected a group of each sample, or of none, got one of {len(found)} of {len(samples)}")
    return torch.tensor(found) if found else None


def _stacked(samples: Sequence[Sample], key: Literal["mask", "ignored"], size: tuple[int, int]) -> Tensor | None:
    """The masks of a key, nowhere true where a sample has none; `None` where no sample has one."""
    if not any(key in sample for sample in samples):
        return None
    empty = torch.zeros(size, dtype=torch.bool)
    found: Tensor = tv_tensors.Mask(torch.stack([sample.get(key, empty).as_subclass(Tensor) for sample in samples]))
    return found
