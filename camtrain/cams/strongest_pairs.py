"""The pairs of positions that act together most, as numbers and as a picture."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

_COLORS = "autumn_r"  # weak pairs yellow, strong ones red
_DPI = 128  # a power of two, so that pixels / dpi · dpi are the same number of pixels

Pixels = npt.NDArray[np.uint8]


class StrongestPairs(NamedTuple):
    """Pairs of positions of each image, the strongest first.

    Attributes:
        first: (N, num_pairs, 2), row and column of the one position.
        second: (N, num_pairs, 2), row and column of the other, which comes later when rows are read one after the other.
        strengths: (N, num_pairs), not increasing.
    """

    first: Tensor
    second: Tensor
    strengths: Tensor


def strongest_pairs(pairs: Tensor, num_pairs: int = 10) -> StrongestPairs:
    """The strongest pairs of two different positions in a symmetric map of pairs.

    Args:
        pairs: (N, h, w, h, w), as `TaylorCAM.pairs` makes it.
        num_pairs: how many; all of them where there are fewer.

    Returns:
        The pairs, each once.

    Raises:
        ValueError: if `pairs` has another shape, or `num_pairs` is less than 1.

    Example:
        >>> pairs = torch.tensor([[9.0, 1.0, 5.0], [1.0, 9.0, 2.0], [5.0, 2.0, 9.0]]).view(1, 1, 3, 1, 3)
        >>> found = strongest_pairs(pairs, num_pairs=1)
        >>> found.first.tolist(), found.second.tolist(), found.strengths.tolist()
        ([[[0, 0]]], [[[0, 2]]], [[5.0]])
    """
    if pairs.dim() != 5 or pairs.shape[1:3] != pairs.shape[3:]:
        raise ValueError(f"`pairs`: expected (N, h, w, h, w), got {tuple(pairs.shape)}")
    if num_pairs < 1:
        raise ValueError(f"`num_pairs`: expected at least 1, got {num_pairs}")
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
    """The image, with a line between the two positions of each of the strongest pairs.

    The stronger a pair, the redder and wider its line and the later it is drawn; pairs of strength zero are left out.

    Args:
        image: (3, H, W), RGB in [0, 1].
        pairs: (h, w, h, w), of this image.
        num_pairs: most pairs.
        scale: pixels of the picture along one pixel of the image.

    Returns:
        (H · scale, W · scale, 3). `PIL.Image.fromarray(picture).save("pairs.png")` writes it.

    Raises:
        ValueError: if the image or the pairs have another shape.

    Example:
        >>> pairs = torch.rand(2, 2, 2, 2)
        >>> strongest_pairs_picture(torch.rand(3, 16, 24), pairs, num_pairs=3, scale=2).shape
        (32, 48, 3)
    """
    if image.dim() != 3 or image.shape[0] != 3:
        raise ValueError(f"`image`: expected (3, H, W), got {tuple(image.shape)}")
    found = strongest_pairs(pairs.detach().float().cpu().unsqueeze(0), num_pairs)
    height, width = image.shape[-2:]
    figure = Figure(figsize=(width * scale / _DPI, height * scale / _DPI), dpi=_DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    pixels = image.detach().float().cpu().clamp(0, 1).movedim(0, -1).numpy()
    axes.imshow(pixels, extent=(0, width, height, 0), interpolation="none", aspect="auto")
    points = min(height, width) * scale / 224  # of a line, in an image of usual size
    for rows, columns, share in reversed(_lines(found, (height / pairs.shape[0], width / pairs.shape[1]))):
        (line,) = axes.plot(columns, rows, color=colormaps[_COLORS](share), linewidth=(0.5 + share) * points)
        line.set(marker="o", markersize=(2 + 2 * share) * points)
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _lines(found: StrongestPairs, cell: tuple[float, float]) -> list[tuple[list[float], list[float], float]]:
    """Rows and columns of the two ends in pixels, and the strength as a share of the strongest; none without any."""
    strengths = found.strengths[0].tolist()
    centers = (torch.stack([found.first[0], found.second[0]], dim=1) + 0.5) * torch.tensor(cell)
    return [
        (ends[:, 0].tolist(), ends[:, 1].tolist(), strength / strengths[0])
        for ends, strength in zip(centers, strengths, strict=True)
        if strength > 0
    ]
