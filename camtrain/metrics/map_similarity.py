"""How alike two maps are."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

Similarity = Literal["spearman", "pearson", "ssim"]
"""Rank correlation, correlation, or structural similarity."""


def map_similarity(first: Tensor, second: Tensor, kind: Similarity = "spearman") -> Tensor:
    """How alike the two maps of each image are.

    Rank correlation does not care how values are scaled, correlation not for their range; structural similarity looks
    at windows, and wants maps in [0, 1]. A map that is the same everywhere has no correlation with anything: two such
    maps count as alike (1), one of them as unrelated (0).

    Args:
        first: (N, H, W).
        second: (N, H, W).
        kind: "spearman", with mean ranks for equal values; "pearson"; or "ssim", with torchmetrics' Gaussian window.

    Returns:
        (N,) in [-1, 1], float32 at least.

    Raises:
        ValueError: if the maps are not (N, H, W) both, are not finite, are too small for the window of SSIM (a side of
            less than 6), or the kind is another word.

    Source:
        Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018, arXiv 1810.03292, which uses rank correlation and
        SSIM.

    Example:
        >>> cam = torch.tensor([[[0.0, 0.1], [0.2, 1.0]]])
        >>> map_similarity(cam, cam.sqrt()), map_similarity(cam, 1 - cam, "pearson")
        (tensor([1.]), tensor([-1.]))
    """
    if first.dim() != 3 or first.shape != second.shape:
        raise ValueError(f"`second`: expected (N, H, W) like `first`, got {tuple(first.shape)}, {tuple(second.shape)}")
    if not bool(first.isfinite().all() & second.isfinite().all()):
        raise ValueError("`first` and `second`: expected finite values, got NaN or infinity")
    a, b = (maps.to(torch.promote_types(maps.dtype, torch.float32)) for maps in (first, second))
    match kind:
        case "spearman":
            return _correlation(mean_ranks(a.flatten(1)), mean_ranks(b.flatten(1)))
        case "pearson":
            return _correlation(a.flatten(1).double(), b.flatten(1).double()).to(a)
        case "ssim":
            if min(a.shape[1:]) < 6:
                raise ValueError(f"`first` and `second`: expected sides of 6 at least, got {tuple(a.shape[1:])}")
            return _structural(a, b)
        case _:
            raise ValueError(f"`kind`: expected 'spearman', 'pearson' or 'ssim', got {kind!r}")


def mean_ranks(values: Tensor) -> Tensor:
    """Ranks of each row from 0, equal values sharing the mean of theirs, (N, M) float64.

    Example:
        >>> mean_ranks(torch.tensor([[3.0, 1.0, 3.0]]))
        tensor([[1.5000, 0.0000, 1.5000]], dtype=torch.float64)
    """
    ordered = values.sort(dim=1).values.contiguous()
    contiguous = values.contiguous()
    first = torch.searchsorted(ordered, contiguous, side="left")
    last = torch.searchsorted(ordered, contiguous, side="right")
    return (first + last - 1).double() / 2


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    a, b = a - a.mean(dim=1, keepdim=True), b - b.mean(dim=1, keepdim=True)
    norms = torch.linalg.vector_norm(a, dim=1) * torch.linalg.vector_norm(b, dim=1)
    found = ((a * b).sum(dim=1) / torch.where(norms > 0, norms, 1.0)).clamp(-1, 1)
    return _with_flat_maps(found.float(), _flat(a), _flat(b))


def _structural(a: Tensor, b: Tensor) -> Tensor:
    if len(a) == 0:
        return a.new_zeros(0)
    found = structural_similarity_index_measure(a.unsqueeze(1), b.unsqueeze(1), reduction="none", data_range=1.0)
    assert isinstance(found, Tensor)
    return _with_flat_maps(found, _flat(a.flatten(1)), _flat(b.flatten(1)))


def _flat(values: Tensor) -> Tensor:
    return values.amax(dim=1) == values.amin(dim=1)


def _with_flat_maps(found: Tensor, a_flat: Tensor, b_flat: Tensor) -> Tensor:
    found = torch.where(a_flat | b_flat, torch.zeros_like(found), found)
    return torch.where(a_flat & b_flat, torch.ones_like(found), found)
