"""Which channels of an image a picture shows."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from camtrain.messages import checked_integer

_COLORS = 3


def shown_colors(images: Tensor, channels: Sequence[int] | None = None) -> Tensor:
    """Images of any number of channels as red, green and blue.

    Args:
        images: (..., C, H, W).
        channels: The numbers of the channels that are shown, from 0: three as red, green and blue, or one in gray.
            `None` shows one channel in gray, two by the first in gray, three as they are, and the first three of more.

    Returns:
        (..., 3, H, W); a view where it can be one.

    Raises:
        ValueError: If `channels` are not those of the images.

    Example:
        >>> import torch
        >>> image = torch.tensor([0.1, 0.2, 0.3, 0.4]).view(4, 1, 1)
        >>> shown_colors(image).flatten(), shown_colors(image, [3, 1, 0]).flatten()
        (tensor([0.1000, 0.2000, 0.3000]), tensor([0.4000, 0.2000, 0.1000]))
        >>> shown_colors(image[:1]).flatten(), shown_colors(image, [2]).flatten()
        (tensor([0.1000, 0.1000, 0.1000]), tensor([0.3000, 0.3000, 0.3000]))
    """
    count = images.shape[-3]
    if channels is None:
        if count == _COLORS:
            return images
        channels = range(_COLORS) if count > _COLORS else [0]
    else:
        check_shown_channels(channels, count)
    picked = images[..., list(channels), :, :]
    return picked if len(channels) == _COLORS else picked.expand(*images.shape[:-3], _COLORS, *images.shape[-2:])


def check_shown_channels(channels: Sequence[int], count: int) -> None:
    """Check the channels that pictures show.

    Args:
        channels: Their numbers.
        count: The number of channels of the images.

    Raises:
        TypeError: If they are no list of numbers.
        ValueError: If they are neither one nor three, or images have no such channel.

    Example:
        >>> check_shown_channels([4], 4)
        Traceback (most recent call last):
        ValueError: `shown_channels`: expected one or three numbers from 0 to 3, got [4]
    """
    expected = f"one or three numbers from 0 to {count - 1}"
    if isinstance(channels, (str, int)):
        raise TypeError(f"`shown_channels`: expected {expected}, got {channels!r}")
    found = [checked_integer("shown_channels", each, at_least=0, expected=expected) for each in channels]
    if len(found) not in (1, _COLORS) or max(found) >= count:
        raise ValueError(f"`shown_channels`: expected {expected}, got {list(channels)}")
