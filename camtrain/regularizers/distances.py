"""The distance between two gradients of the same image.

Each function takes two batches of flattened gradients, (N, D) with D = C·H·W, and returns one distance for each image,
(N,). Cosine and histogram intersection are undefined for a gradient of norm zero, which a fully confident classifier
has. An image whose norm is at most `floor` has distance 1 ("nothing in common") and no gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

DistanceName = Literal["cosine", "mae", "mse", "histogram_intersection"]


def cosine(gradients: Tensor, targets: Tensor, floor: float) -> Tensor:
    """Cosine distance 1 - ⟨a, b⟩ / (‖a‖₂ ‖b‖₂), in [0, 2]; unchanged when either gradient is scaled.

    Example:
        >>> cosine(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([[5.0, 0.0], [0.0, 0.1]]), 1e-8)
        tensor([0., 1.])
    """
    dots = (gradients * targets).sum(dim=1)
    # The gradient of vector_norm at zero is zero; that of the root of a sum of squares is NaN.
    norms = torch.linalg.vector_norm(gradients, dim=1), torch.linalg.vector_norm(targets, dim=1)
    alive = (norms[0] > floor) & (norms[1] > floor)
    one = torch.ones_like(dots)
    return torch.where(alive, 1 - dots / torch.where(alive, norms[0] * norms[1], one), one)


def mae(gradients: Tensor, targets: Tensor, floor: float) -> Tensor:
    """Mean absolute error 1/D ‖a - b‖₁, in [0, ∞); it scales with the gradients and ignores `floor`.

    Example:
        >>> mae(torch.tensor([[1.0, 0.0]]), torch.tensor([[-1.0, 0.0]]), 0.0)
        tensor([1.])
    """
    return (gradients - targets).abs().mean(dim=1)


def mse(gradients: Tensor, targets: Tensor, floor: float) -> Tensor:
    """Mean squared error 1/D ‖a - b‖₂², in [0, ∞); it scales with the square of the gradients and ignores `floor`.

    Example:
        >>> mse(torch.tensor([[1.0, 0.0]]), torch.tensor([[-1.0, 0.0]]), 0.0)
        tensor([2.])
    """
    return (gradients - targets).square().mean(dim=1)


def histogram_intersection(gradients: Tensor, targets: Tensor, floor: float) -> Tensor:
    """Histogram intersection distance 1 - Σ_d min(|a_d| / ‖a‖₁, |b_d| / ‖b‖₁), in [0, 1].

    It compares how the magnitude is spread over the pixels and ignores signs. It is unchanged when either gradient is
    scaled.

    Source:
        Swain and Ballard, Color Indexing, IJCV 1991, for histograms of sum one.

    Example:
        >>> histogram_intersection(torch.tensor([[3.0, -1.0]]), torch.tensor([[1.0, 1.0]]), 1e-8)
        tensor([0.2500])
    """
    first, second = gradients.abs(), targets.abs()
    sums = first.sum(dim=1, keepdim=True), second.sum(dim=1, keepdim=True)
    alive = (sums[0] > floor) & (sums[1] > floor)
    one = torch.ones_like(sums[0])
    fractions = first / torch.where(alive, sums[0], one), second / torch.where(alive, sums[1], one)
    overlap = torch.minimum(*fractions).sum(dim=1)
    return torch.where(alive.squeeze(1), 1 - overlap, torch.ones_like(overlap))


DISTANCES: dict[DistanceName, Callable[[Tensor, Tensor, float], Tensor]] = {
    "cosine": cosine,
    "mae": mae,
    "mse": mse,
    "histogram_intersection": histogram_intersection,
}
