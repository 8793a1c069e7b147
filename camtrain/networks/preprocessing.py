"""From a photograph to what a network expects, and back to what people see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from camtrain.messages import checked_integer, checked_numbers

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_SMALLEST_STD = 1e-30  # by which pixels can be divided in float32
USUAL_SIZE = 224
"""Height and width in pixels that are assumed where nothing says otherwise."""


def check_mean(mean: Sequence[float]) -> None:
    """Check the mean of each RGB channel.

    Raises:
        ValueError: If it is not three finite numbers.
    """
    checked_numbers("mean", mean, "three finite numbers, one for each of R, G and B", 3)


def check_std(std: Sequence[float]) -> None:
    """Check the standard deviation of each RGB channel.

    Raises:
        ValueError: If it is not three positive, finite numbers, or one is too small to be divided by.

    Example:
        >>> check_std((0.5, 0.5, float("inf")))
        Traceback (most recent call last):
        ValueError: `std`: expected three positive, finite numbers, one for each of R, G and B, got (0.5, 0.5, inf)
    """
    checked_numbers("std", std, "three positive, finite numbers, one for each of R, G and B", 3, at_least=_SMALLEST_STD)


@dataclass(frozen=True)
class GivenPreprocessing:
    """What a caller says about images. It replaces what a network or its run says.

    Attributes:
        size: Height and width in pixels; `None` leaves those of the network.
        mean: Mean per RGB channel of images in [0, 1]; `None` leaves the network's.
        std: Standard deviation, likewise.

    Raises:
        ValueError: If the size is not positive, mean or std do not have three finite numbers, or one of std is not
            positive.
    """

    size: int | None = None
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None

    def __post_init__(self) -> None:
        if self.size is not None:
            checked_integer("size", self.size, at_least=1, expected="a positive number of pixels")
        if self.mean is not None:
            check_mean(self.mean)
        if self.std is not None:
            check_std(self.std)

    def normalization(self, mean: Sequence[float], std: Sequence[float]) -> dict[str, tuple[float, ...]]:
        """The mean and std to use where these are the network's own."""
        return {"mean": tuple(self.mean or mean), "std": tuple(self.std or std)}


@dataclass(frozen=True)
class Preprocessing:
    """How photographs become the input of a network.

    Attributes:
        transform: From a photograph to (3, H, W), normalized.
        mean: Subtracted from images in [0, 1], per RGB channel.
        std: Images are divided by it, per RGB channel.
        remarks: What a user should know before photographs are prepared this way.
        assumed: True if nothing says what mean and std are, so that they are a guess.
        given: What the caller of `load_network` said about images.
    """

    transform: Callable[[Image.Image], Tensor]
    mean: Sequence[float]
    std: Sequence[float]
    remarks: Sequence[str] = ()
    assumed: bool = False
    given: GivenPreprocessing = GivenPreprocessing()

    def picture(self, image: Tensor) -> Tensor:
        """What a normalized image looks like, (3, H, W) RGB in [0, 1] on the CPU."""
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (self.mean, self.std))
        return (image.float().cpu() * std + mean).clamp(0, 1)


def transform_preprocessing(
    transform: Sequence[v2.Transform],
    mean: Sequence[float],
    std: Sequence[float],
    remarks: Sequence[str] = (),
    given: GivenPreprocessing | None = None,
) -> Preprocessing:
    """Transforms of uint8 pixels, then float32, then the normalization, as data modules do it.

    Raises:
        ValueError: If mean or std cannot be used.
    """
    check_mean(mean)
    check_std(std)
    to_float = v2.ToDtype(torch.float32, scale=True)
    prepared = v2.Compose([v2.ToImage(), *transform, to_float, v2.Normalize(list(mean), list(std)), v2.ToPureTensor()])
    return Preprocessing(prepared, tuple(mean), tuple(std), tuple(remarks), given=given or GivenPreprocessing())


def plain_preprocessing(
    given: GivenPreprocessing | None = None, size: int = USUAL_SIZE, remarks: Sequence[str] = ()
) -> Preprocessing:
    """The largest central square with ImageNet's normalization, for networks about which nothing else is known.

    Args:
        given: What the caller says about images.
        size: Height and width in pixels where the caller gives none.
        remarks: What a user should know.

    Example:
        >>> plain_preprocessing(size=32).transform(Image.new("RGB", (64, 48))).shape
        torch.Size([3, 32, 32])
    """
    given = given or GivenPreprocessing()
    normalization = given.normalization(IMAGENET_MEAN, IMAGENET_STD)
    found = transform_preprocessing(central_square(given.size or size), **normalization, remarks=remarks, given=given)
    return replace(found, assumed=not (given.mean and given.std))


def central_square(size: int) -> list[v2.Transform]:
    """Scale the shorter side to a size in pixels and crop the square in the middle."""
    return [v2.Resize(size), v2.CenterCrop(size)]


def listed(values: Any) -> str:
    """Numbers as an error message shows them.

    Example:
        >>> listed(torch.tensor([0.4850001, 0.5]))
        '[0.485, 0.5]'
    """
    return str([round(float(value), 4) for value in torch.as_tensor(values).flatten()])
