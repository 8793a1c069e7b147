"""Where the maps of a layer lie in what it puts out: channels first, channels last, or tokens."""

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
        channel_axis: which of the four axes counts channels, 1 or 3.

    Example:
        >>> PixelLayout(channel_axis=3).maps(torch.zeros(2, 7, 5, 96)).shape
        torch.Size([2, 96, 7, 5])
    """

    channel_axis: int

    def maps(self, output: Tensor) -> Tensor:
        """(N, C, h, w), a view of what the layer puts out."""
        return output.movedim(self.channel_axis, 1)

    def output(self, maps: Tensor, output: Tensor) -> Tensor:
        """What the layer puts out, with these maps in the place of its own."""
        return maps.movedim(1, self.channel_axis)


@dataclass(frozen=True)
class TokenLayout:
    """Tokens (N, L, C): some that belong to no place in the image, then one for each place, row by row.

    Args:
        prefix: number of class, distillation and register tokens.
        height: h, rows of the map.
        width: w, columns of the map.

    Example:
        >>> TokenLayout(prefix=1, height=14, width=14).maps(torch.zeros(2, 197, 192)).shape
        torch.Size([2, 192, 14, 14])
    """

    prefix: int
    height: int
    width: int

    def maps(self, output: Tensor) -> Tensor:
        """(N, C, h, w), a view of what the layer puts out."""
        tokens = output[:, self.prefix :].transpose(1, 2)
        return tokens.reshape(*tokens.shape[:2], self.height, self.width)

    def output(self, maps: Tensor, output: Tensor) -> Tensor:
        """What the layer puts out, with these maps in the place of its own; the prefix tokens stay."""
        tokens = maps.flatten(2).transpose(1, 2)
        return torch.cat([output[:, : self.prefix], tokens], dim=1) if self.prefix else tokens


MapLayout: TypeAlias = PixelLayout | TokenLayout


def map_layout(output: Tensor, layer: nn.Module, images: Tensor, network: nn.Module) -> MapLayout:
    """The layout of what a layer puts out, found from its shape and the size of the images.

    Four axes are (N, C, h, w), unless the size fits the images only as (N, h, w, C). Where it fits as both (as many
    channels as rows), it is (N, h, w, C) for a layer of linear layers and layer norms without convolutions.

    Three axes are tokens (N, L, C). Their map has one token for each patch of the patch embedding (a convolution whose
    stride is its size), or for 2×2, 4×4, ... of them; in a network without one, for each of the equal square patches
    that some size divides the image into. Up to 8 tokens before them are prefix tokens (class, distillation,
    registers); of several possibilities the one with the fewest is meant.

    Args:
        output: what the layer puts out.
        layer: the module.
        images: (N, 3, H, W), what the network was run on. Only their shape is used.
        network: from the images to the logits.

    Returns:
        The layout, with methods from the output to maps (N, C, h, w) and back.

    Raises:
        ValueError: if there is not one output for each image, or it has another number of axes, or no map of the
            images' shape has that number of tokens.

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
    if shape[0] != len(images):
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
    """Whether a network with some stride, the same in both directions, makes this grid of images of this size."""
    strides = (
        {stride for stride in range(1, length + 1) if cells in (length // stride, -(-length // stride))}
        for cells, length in zip(grid, size, strict=True)
    )
    return bool(set.intersection(*strides))


def _counts_channels_last(layer: nn.Module, channels: int) -> bool:
    """Whether the layer is made of modules that work on a last axis of that many channels."""
    modules = list(layer.modules())
    if any(isinstance(module, (nn.Conv2d, nn.BatchNorm2d)) for module in modules):
        return False
    return any(
        (isinstance(module, nn.Linear) and module.out_features == channels)
        # Some layer norms of convolutional networks derive from the one for a last axis.
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
    """Grids of more than one token that patch embeddings make, and that merging 2×2 tokens makes of those."""
    for rows, columns in patches:
        while rows <= size[0] and columns <= size[1]:
            # Some networks leave out a border that fills no patch, others pad it.
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
    """Grids of more than one token whose tokens are equal square patches without a rest."""
    sides = (side for side in range(1, min(size) + 1) if size[0] % side == 0 and size[1] % side == 0)
    return _larger_than_one((size[0] // side, size[1] // side) for side in sides)


def _larger_than_one(grids: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    return (grid for grid in grids if prod(grid) > 1)
