"""The pairs of positions that act together most strongly, as numbers and as a picture."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from camtrain.messages import positive_integer
from camtrain.pictures import Pixels, figure_pixels

_COLORS = "autumn_r"  # weak pairs yellow, strong ones red
_DPI = 128  # a power of two, so that pixels / dpi · dpi is exactly the number of pixels


class StrongestPairs(NamedTuple):
    """Pairs of positions of each image, the strongest first.

    Attributes:
        first: The row and the column of the first position of each pair, (N, num_pairs, 2).
        second: The row and the column of the second position, (N, num_pairs, 2). It comes after the first one in the
            order in which rows are read.
        strengths: The strength of each pair, (N, num_pairs), in descending order.
    """

    first: Tensor
    second: Tensor
    strengths: Tensor


def strongest_pairs(pairs: Tensor, num_pairs: int = 10) -> StrongestPairs:
    """Find the strongest pairs of two different positions in a symmetric map of pairs.

    Args:
        pairs: The map of pairs, (N, h, w, h, w), as `TaylorCAM.pairs` makes it.
        num_pairs: The number of pairs to find; all of them if there are fewer.

    Returns:
        The pairs, each once.

    Raises:
        ValueError: If `pairs` has another shape, or `num_pairs` is no positive integer.

    Example:
        >>> pairs = torch.tensor([[9.0, 1.0, 5.0], [1.0, 9.0, 2.0], [5.0, 2.0, 9.0]]).view(1, 1, 3, 1, 3)
        >>> found = strongest_pairs(pairs, num_pairs=1)
        >>> found.first.tolist(), found.second.tolist(), found.strengths.tolist()
        ([[[0, 0]]], [[[0, 2]]], [[5.0]])
    """
    if pairs.dim() != 5 or pairs.shape[1:3] != pairs.shape[3:]:
        raise ValueError(f"`pairs`: expected (N, h, w, h, w), got {tuple(pairs.shape)}")
    positive_integer("num_pairs", num_pairs)
    images, height, width = pairs.shape[:3]
    first, second = torch.triu_indices(height * width, height * width, offset=1, device=pairs.device)
    strengths = pairs.reshape(images, height * width, height * width)[:, first, second]
    strongest = strengths.topk(min(num_pairs, strengths.shape[1]), dim=1)
    return StrongestPairs(
        _rows_and_columns(first[strongest.indices], width),
        _rows_and_columns(second[strongest.indices], width),
        strongest.values,
    )


def _rows_and_columns(positions: Tensor, width: int) -> Tensor:
    return torch.stack([positions // width, positions % width], dim=-1)


def strongest_pairs_picture(image: Tensor, pairs: Tensor, num_pairs: int = 10, scale: int = 1) -> Pixels:
    """Draw a line over the image between the two positions of each of the strongest pairs.

    The stronger a pair, the redder and wider its line. Strong pairs are drawn over weak ones; pairs of strength zero
    are left out.

    Args:
        image: The image, (3, H, W), RGB in [0, 1].
        pairs: The map of pairs of this image, (h, w, h, w).
        num_pairs: The largest number of pairs to draw.
        scale: The number of pixels of the picture along one pixel of the image.

    Returns:
        The picture, (H · scale, W · scale, 3). `PIL.Image.fromarray(picture).save("pairs.png")` writes it.

    Raises:
        ValueError: If the image or the map of pairs has another shape, or `num_pairs` is no positive integer.

    Example:
        >>> pairs = torch.rand(2, 2, 2, 2)
        >>> strongest_pairs_picture(torch.rand(3, 16, 24), pairs, num_pairs=3, scale=2).shape
        (32, 48, 3)
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    if image.dim() != 3 or image.shape[0] != 3:
        hint = "; `camtrain.pictures.shown_colors` picks the channels to show" if image.dim() == 3 else ""
        raise ValueError(f"`image`: expected (3, H, W), got {tuple(image.shape)}{hint}")
    found = strongest_pairs(pairs.detach().float().cpu().unsqueeze(0), num_pairs)
    height, width = image.shape[-2:]
    figure = Figure(figsize=(width * scale / _DPI, height * scale / _DPI), dpi=_DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    pixels = image.detach().float().cpu().clamp(0, 1).movedim(0, -1).numpy()
    axes.imshow(pixels, extent=(0, width, height, 0), interpolation="none", aspect="auto")
    points = min(height, width) * scale / 224  # line widths are in points at 224 pixels
    for rows, columns, strength in reversed(_lines(found, (height / pairs.shape[0], width / pairs.shape[1]))):
        (line,) = axes.plot(columns, rows, color=colormaps[_COLORS](strength), linewidth=(0.5 + strength) * points)
        line.set(marker="o", markersize=(2 + 2 * strength) * points)
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    return figure_pixels(figure)


def _lines(found: StrongestPairs, cell: tuple[float, float]) -> list[tuple[list[float], list[float], float]]:
    """For each pair that is not zero: the rows and columns of its two ends in pixels, and its relative strength."""
    strengths = found.strengths[0].tolist()
    centers = (torch.stack([found.first[0], found.second[0]], dim=1) + 0.5) * torch.tensor(cell)
    return [
        (ends[:, 0].tolist(), ends[:, 1].tolist(), strength / strengths[0])
        for ends, strength in zip(centers, strengths, strict=True)
        if strength > 0
    ]
