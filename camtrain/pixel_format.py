"""What the numbers in image files are: how many channels, of which type, and which of them is black and white."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from camtrain.messages import checked_numbers, positive_integer

PixelType = Literal["uint8", "uint16", "int16", "uint32", "int32", "float16", "float32", "float64"]
"""The type of the numbers in an image file, by its name in NumPy."""


@dataclass(frozen=True)
class PixelFormat:
    """What is in the image files of a data set. It is stated, and a file that holds something else is refused.

        x = (p - low) / (high - low)    for a number p of a file, where `value_range` is (low, high)

    Attributes:
        channels: C, the number of channels.
        pixel_type: The type of the numbers.
        value_range: The numbers that become 0 and 1. Numbers outside of it are kept, and become less than 0 or more
            than 1. `None` is (0, 255) for `uint8`; the other types have no usual range.
        channels_first: Whether arrays in `.npy` files are (C, H, W). By default they are (H, W, C), or (H, W) if there
            is one channel.

    Raises:
        TypeError: If `channels` or the range is no number.
        ValueError: If an argument is out of range, or the range is missing.

    Example:
        >>> stored = np.array([[[0]], [[5000]], [[10000]], [[12000]]], dtype=np.uint16)
        >>> PixelFormat(4, "uint16", (0, 10000)).scaled(stored).flatten().tolist()
        [0.0, 0.5, 1.0, 1.2000000476837158]
    """

    channels: int
    pixel_type: PixelType = "uint8"
    value_range: tuple[float, float] | None = None
    channels_first: bool = False

    def __post_init__(self) -> None:
        positive_integer("channels", self.channels)
        if self.pixel_type not in get_args(PixelType):
            raise ValueError(f"`pixel_type`: expected one of {', '.join(get_args(PixelType))}, got {self.pixel_type!r}")
        if self.value_range is None:
            if self.pixel_type != "uint8":
                raise ValueError(
                    f"`value_range`: expected the numbers of {self.pixel_type} that are black and white, such as "
                    "[0, 65535], got null"
                )
            return
        expected = "two finite numbers, the first less than the second"
        low, high = checked_numbers("value_range", self.value_range, expected, 2)
        if low >= high:
            raise ValueError(f"`value_range`: expected {expected}, got {tuple(self.value_range)}")

    @property
    def title(self) -> str:
        """What a file is expected to hold, in words.

        Example:
            >>> PixelFormat(1, "uint16", (0, 4095)).title
            '1 channel of uint16'
        """
        return in_words(self.channels, self.pixel_type)

    def check(self, channels: int, pixel_type: str) -> None:
        """Check what a file holds.

        Raises:
            ValueError: If it is something else.
        """
        if (channels, pixel_type) != (self.channels, self.pixel_type):
            wrong = "channels" if channels != self.channels else "pixel_type"
            raise ValueError(
                f"`{wrong}`: expected {self.title}, got a file with {in_words(channels, pixel_type)}; "
                "convert it, or change the setting if it holds for all files"
            )

    def scaled(self, stored: NDArray[Any]) -> Tensor:
        """The numbers of a file, (C, H, W), as an image: uint8 if they are bytes without a range, otherwise float32.

        Raises:
            ValueError: If they are of another number of channels or another type, or one is NaN or infinite.
        """
        self.check(len(stored), stored.dtype.name)
        if self.value_range is None:
            return torch.from_numpy(np.ascontiguousarray(stored))
        low, high = self.value_range
        scaled = (stored.astype(np.float64) - low) / (high - low)
        if not np.isfinite(scaled).all():
            raise ValueError("it holds NaN or infinity; give pixels without a value a number")
        return torch.from_numpy(np.ascontiguousarray(scaled, dtype=np.float32))


def in_words(channels: int, pixel_type: str) -> str:
    """A number of channels and a type, in words.

    Example:
        >>> in_words(4, "float32")
        '4 channels of float32'
    """
    return f"{channels} channel{'s' * (channels != 1)} of {pixel_type}"
