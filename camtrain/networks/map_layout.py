"""How a layer's output contains its maps: channels first, channels last, or tokens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod
from typing import TypeAlias

import torch
from torch import Tensor, nn

_MOST_PREFIX_TOKENS = 8


@dataclass(frozen=True)
class PixelLayout:
    """Maps with a row and a column axis, such as (N, C, h, w) of a convolution and (N, h, w, C) of a Swin transformer.

    Args:
        channel_axis: The axis of the channels, 1 or 3.

    Example:
        >>> PixelLayout(channel_axis=3).maps(torch.zeros(2, 7, 5, 96)).shape
        torch.Size([2, 96, 7, 5])
    """

    channel_axis: int

    def maps(self, output: Tensor) -> Tensor:
        """The maps in the output of a layer, (N, C, h, w), a view."""
        return output.movedim(self.channel_axis, 1)

    def output(self, maps: Tensor, output: Tensor) -> Tensor:
        """The output of a layer with its maps replaced by these."""
        return maps.movedim(1, self.channel_axis)


@dataclass(frozen=True)
class TokenLayout:
    """Tokens (N, L, C): first the prefix tokens, which belong to no place in the image, then the map, row by row.

    Args:
        prefix: The number of prefix tokens: class, distillation and register tokens.
        height: h, the number of rows of the map.
        width: w, the number of columns of the map.

    Example:
        >>> TokenLayout(prefix=1, height=14, width=14).maps(torch.zeros(2, 197, 192)).shape
        torch.Size([2, 192, 14, 14])
    """

    prefix: int
    height: int
    width: int

    def maps(self, output: Tensor) -> Tensor:
        """The maps in the output of a layer, (N, C, h, w), a view."""
        tokens = output[:, self.prefix :].transpose(1, 2)
        return tokens.reshape(*tokens.shape[:2], self.height, self.width)

    def output(self, maps: Tensor, output: Tensor) -> Tensor:
        """The output of a layer with its maps replaced by these; the prefix tokens stay."""
        tokens = maps.flatten(2).transpose(1, 2)
        return torch.cat([output[:, : self.prefix], tokens], dim=1) if self.prefix else tokens


MapLayout: TypeAlias = PixelLayout | TokenLayout


def map_layout(output: Tensor, layer: nn.Module, images: Tensor, network: nn.Module) -> MapLayout:
    """The layout of a layer's output, found from its shape and the size of the images.

    An output of four axes is (N, C, h, w), unless its shape fits the images only as (N, h, w, C). If it fits both ways
    (as many channels as rows), it is (N, h, w, C) for a layer of linear layers and layer norms without convolutions.

    An output of three axes is tokens (N, L, C). Their map has one token for each patch of the patch embedding (a
    convolution with a stride equal to its kernel size), or for each 2×2, 4×4, ... of these patches. In a network
    without a patch embedding, it has one token for each of the equal square patches that the image can be divided into.
    Up to 8 prefix tokens (class, distillation, registers) come before the map. If several maps are possible, the one
    with the fewest prefix tokens is chosen.

    Args:
        output: The output of the layer.
        layer: The layer.
        images: The images that the network was run on, (N, C, H, W). Only their shape is used.
        network: The network that the layer belongs to.

    Returns:
        The layout, with methods from the output to maps (N, C, h, w) and back.

    Raises:
        ValueError: If there is not one output for each image, the output has another number of axes, or no map that
            fits the images has this number of tokens.

    Example:
        >>> images = torch.zeros(2, 3, 224, 160)
        >>> tokens = torch.zeros(2, 141, 192)
        >>> map_layout(tokens, nn.Identity(), images, nn.Conv2d(3, 192, kernel_size=16, stride=16))
        TokenLayout(prefix=1, height=14, width=10)
    """
    shape = tuple(output.shape)
    if len(shape) not in (3, 4):
        raise ValueError(
            "`target_layer`: expected a layer that puts out (N, C, h, w), (N, h, w, C) or tokens (N, L, C), "
            f"got {shape}"
        )
    if shape[0] != images.shape[0]:  # not `len`, of which an exporter makes a constant
        raise ValueError(
            f"`target_layer`: expected a layer with an output for each of {len(images)} images, got {shape}"
        )
    size = (images.shape[-2], images.shape[-1])
    return _pixel_layout(shape, layer, size) if len(shape) == 4 else _token_layout(shape, size, network)


def _pixel_layout(shape: tuple[int, ...], layer: nn.Module, size: tuple[int, int]) -> PixelLayout:
    if not _fits((shape[1], shape[2]), size):
        return PixelLayout(channel_axis=1)
    if _fits((shape[2], shape[3]), size) and not _counts_channels_last(layer, shape[3]):
        return PixelLayout(channel_axis=1)
    return PixelLayout(channel_axis=3)


def _fits(grid: tuple[int, int], size: tuple[int, int]) -> bool:
    """Whether some stride, the same in both directions, turns images of this size into this grid."""
    strides = (
        {stride for stride in range(1, length + 1) if cells in (length // stride, -(-length // stride))}
        for cells, length in zip(grid, size, strict=True)
    )
    return bool(set.intersection(*strides))


def _counts_channels_last(layer: nn.Module, channels: int) -> bool:
    """Whether the layer consists of modules that work on a last axis with this number of channels."""
    modules = list(layer.modules())
    if any(isinstance(module, (nn.Conv2d, nn.BatchNorm2d)) for module in modules):
        return False
    return any(
        (isinstance(module, nn.Linear) and module.out_features == channels)
        # Compared by name, because some layer norms of convolutional networks derive from `nn.LayerNorm`.
        or (type(module).__name__ == "LayerNorm" and getattr(module, "normalized_shape", None) == (channels,))
        for module in modules
    )


def _token_layout(shape: tuple[int, ...], size: tuple[int, int], network: nn.Module) -> TokenLayout:
    tokens = shape[1]
    grids = set(_embedded_grids(size, patches)) if (patches := _patch_sizes(network)) else set(_divided_grids(size))
    layouts = [
        TokenLayout(tokens - prod(grid), *grid) for grid in grids if 0 <= tokens - prod(grid) <= _MOST_PREFIX_TOKENS
    ]
    if layouts:
        return min(layouts, key=lambda layout: layout.prefix)
    nearest = sorted(grids, key=lambda grid: (abs(tokens - prod(grid)), grid))[:4]
    raise ValueError(
        f"`target_layer`: expected tokens that make a map of images of {size[0]}×{size[1]} after at most "
        f"{_MOST_PREFIX_TOKENS} prefix tokens, got {shape} with {tokens} tokens; the nearest maps have "
        + (", ".join(f"{h}×{w} = {h * w}" for h, w in nearest) or "one token")
    )


def _embedded_grids(size: tuple[int, int], patches: set[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Grids of more than one token: those of the patch embeddings, and those left after merging 2×2 tokens."""
    for rows, columns in patches:
        while rows <= size[0] and columns <= size[1]:
            # Some networks leave out a border that fills no patch; others pad it.
            yield from _larger_than_one(
                [(size[0] // rows, size[1] // columns), (-(-size[0] // rows), -(-size[1] // columns))]
            )
            rows, columns = 2 * rows, 2 * columns


def _patch_sizes(network: nn.Module) -> set[tuple[int, int]]:
    convolutions = (module for module in network.modules() if isinstance(module, nn.Conv2d))
    return {
        (module.stride[0], module.stride[1])
        for module in convolutions
        if tuple(module.stride) == tuple(module.kernel_size) and prod(module.stride) > 1
    }


def _divided_grids(size: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Grids of more than one token whose tokens are equal square patches that cover the image."""
    sides = (side for side in range(1, min(size) + 1) if size[0] % side == 0 and size[1] % side == 0)
    return _larger_than_one((size[0] // side, size[1] // side) for side in sides)


def _larger_than_one(grids: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    return (grid for grid in grids if prod(grid) > 1)
