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
from camtrain.pictures.shown_channels import shown_colors
from camtrain.pixel_format import PixelFormat

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_SMALLEST_STD = 1e-30  # by which pixels can be divided in float32
USUAL_SIZE = 224
"""Height and width in pixels that are assumed where nothing says otherwise."""


def check_mean(mean: Sequence[float]) -> None:
    """Check the mean of each channel.

    Raises:
        ValueError: If it is not finite numbers, at least one.
    """
    expected = "finite numbers, one for each channel"
    if not checked_numbers("mean", mean, expected):
        raise ValueError(f"`mean`: expected {expected}, got none")


def check_std(std: Sequence[float], mean: Sequence[float] | None = None) -> None:
    """Check the standard deviation of each channel.

    Args:
        std: The standard deviations.
        mean: The mean of each channel, which says how many there are; `None` if that is not known.

    Raises:
        ValueError: If it is not positive, finite numbers, one is too small to be divided by, or there are more or fewer
            than means.

    Example:
        >>> check_std((0.5, 0.5, float("inf")))
        Traceback (most recent call last):
        ValueError: `std`: expected positive, finite numbers, one for each channel, got (0.5, 0.5, inf)
        >>> check_std((0.5, 0.5), mean=(0.5,))
        Traceback (most recent call last):
        ValueError: `std`: expected as many numbers as `mean` has, 1, got 2
    """
    expected = "positive, finite numbers, one for each channel"
    if not checked_numbers("std", std, expected, at_least=_SMALLEST_STD):
        raise ValueError(f"`std`: expected {expected}, got none")
    if mean is not None and len(std) != len(mean):
        raise ValueError(f"`std`: expected as many numbers as `mean` has, {len(mean)}, got {len(std)}")


def check_scale(mean: Sequence[float], std: Sequence[float]) -> None:
    """Check that mean and standard deviation are of pixels in [0, 1].

    Raises:
        ValueError: If they look like those of pixels from 0 to 255.

    Example:
        >>> check_scale((123.7, 116.3, 103.5), (58.4, 57.1, 57.4))
        Traceback (most recent call last):
        ValueError: `mean`: expected that of pixels in [0, 1], got (123.7, 116.3, 103.5) with a `std` of (58.4, 57.1,
        57.4), as of pixels from 0 to 255; divide both by 255
    """
    if min(std) > 1 and max(mean) > 1:
        raise ValueError(
            f"`mean`: expected that of pixels in [0, 1], got {tuple(mean)} with a `std` of {tuple(std)}, as of pixels "
            "from 0 to 255; divide both by 255"
        )


@dataclass(frozen=True)
class GivenPreprocessing:
    """What a caller says about images. It replaces what a network or its run says.

    Attributes:
        size: Height and width in pixels; `None` leaves those of the network.
        mean: Mean per channel of images in [0, 1]; `None` leaves the network's.
        std: Standard deviation, likewise.

    Raises:
        ValueError: If the size is not positive, mean or std are not finite numbers, one of std is not positive, or they
            are of different numbers of channels.
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
            check_std(self.std, self.mean)
        if self.mean is not None and self.std is not None:
            check_scale(self.mean, self.std)

    def normalization(self, mean: Sequence[float], std: Sequence[float]) -> dict[str, tuple[float, ...]]:
        """The mean and std to use where these are the network's own.

        Raises:
            ValueError: If the caller gives one of them for another number of channels.
        """
        for name, given in (("mean", self.mean), ("std", self.std)):
            if given is not None and len(given) != len(mean):
                raise ValueError(f"`{name}`: expected {len(mean)} numbers, one for each channel, got {len(given)}")
        return {"mean": tuple(self.mean or mean), "std": tuple(self.std or std)}


@dataclass(frozen=True)
class Preprocessing:
    """How photographs become the input of a network.

    Attributes:
        transform: From a photograph, or an image (C, H, W), uint8 or in [0, 1], to (C, H, W), normalized.
        mean: Subtracted from images in [0, 1], per channel.
        std: Images are divided by it, per channel.
        remarks: What a user should know before photographs are prepared this way.
        assumed: True if nothing says what mean and std are, so that they are a guess.
        given: What the caller of `load_network` said about images.
        pixel_format: What image files hold; `None` is photographs, which are read in RGB as a viewer shows them.
        shown_channels: The channels that pictures show, as `camtrain.pictures.shown_colors` takes them.
    """

    transform: Callable[[Image.Image | Tensor], Tensor]
    mean: Sequence[float]
    std: Sequence[float]
    remarks: Sequence[str] = ()
    assumed: bool = False
    given: GivenPreprocessing = GivenPreprocessing()
    pixel_format: PixelFormat | None = None
    shown_channels: Sequence[int] | None = None

    @property
    def channels(self) -> int:
        """C, the number of channels of the images."""
        return len(self.mean)

    def denormalized(self, image: Tensor) -> Tensor:
        """A normalized image (C, H, W) before the normalization, in [0, 1] on the CPU."""
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (self.mean, self.std))
        return (image.float().cpu() * std + mean).clamp(0, 1)

    def picture(self, image: Tensor) -> Tensor:
        """What a normalized image (C, H, W) looks like, (3, H, W) RGB in [0, 1] on the CPU."""
        return shown_colors(self.denormalized(image), self.shown_channels)


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
    check_std(std, mean)
    to_float = v2.ToDtype(torch.float32, scale=True)
    prepared = v2.Compose([v2.ToImage(), *transform, to_float, v2.Normalize(list(mean), list(std)), v2.ToPureTensor()])
    return Preprocessing(prepared, tuple(mean), tuple(std), tuple(remarks), given=given or GivenPreprocessing())


def usual_normalization(channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std where nothing says another: ImageNet's of three channels, and 0.5 of any other number.

    Example:
        >>> usual_normalization(1)
        ((0.5,), (0.5,))
    """
    if channels == len(IMAGENET_MEAN):
        return IMAGENET_MEAN, IMAGENET_STD
    return (0.5,) * channels, (0.5,) * channels


def normalization_title(channels: int) -> str:
    """What `usual_normalization` is, in words."""
    return "ImageNet's mean and std" if channels == len(IMAGENET_MEAN) else "a mean and std of 0.5"


def plain_preprocessing(
    given: GivenPreprocessing | None = None,
    size: int = USUAL_SIZE,
    remarks: Sequence[str] = (),
    channels: int = 3,
) -> Preprocessing:
    """The largest central square, for networks about which nothing else is known.

    The normalization is ImageNet's, or 0.5 and 0.5 for another number of channels than three.

    Args:
        given: What the caller says about images. It may say their number of channels, by the length of `mean`.
        size: Height and width in pixels where the caller gives none.
        remarks: What a user should know.
        channels: The number of channels where the caller does not say it. Files of another number than three are read
            with all their channels of 8 bits.

    Example:
        >>> plain_preprocessing(size=32).transform(Image.new("RGB", (64, 48))).shape
        torch.Size([3, 32, 32])
    """
    given = given or GivenPreprocessing()
    channels = len(given.mean or given.std or range(channels))
    normalization = given.normalization(*usual_normalization(channels))
    found = transform_preprocessing(central_square(given.size or size), **normalization, remarks=remarks, given=given)
    pixel_format = None if channels == len(IMAGENET_MEAN) else PixelFormat(channels)
    return replace(found, assumed=not (given.mean and given.std), pixel_format=pixel_format)


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
