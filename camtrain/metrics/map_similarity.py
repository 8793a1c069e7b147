"""How alike two maps are."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from camtrain.metrics.checked import check_finite, check_shape, checked_tensor

Similarity = Literal["spearman", "pearson", "ssim"]
"""Rank correlation, correlation, or structural similarity."""


def map_similarity(first: Tensor, second: Tensor, kind: Similarity = "spearman") -> Tensor:
    """How alike the two maps of each image are.

    Rank correlation ignores any monotonic rescaling of the values, and correlation any linear one. Structural
    similarity compares windows, and expects maps in [0, 1]. A constant map has no correlation with anything: two
    constant maps count as alike (1), one constant map as unrelated to the other (0).

    Args:
        first: (N, H, W) maps.
        second: (N, H, W) maps of the same images.
        kind: "spearman", with mean ranks for equal values; "pearson"; or "ssim", with torchmetrics' Gaussian window.

    Returns:
        (N,) in [-1, 1], float32 or float64.

    Raises:
        TypeError: If a map is no tensor.
        ValueError: If the maps are not (N, H, W), their shapes differ, a value is not finite, a side is too small for
            the window of SSIM (less than 6), or there is no such kind.

    Source:
        Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018, arXiv 1810.03292, which uses rank correlation and
        SSIM.

    Example:
        >>> cam = torch.tensor([[[0.0, 0.1], [0.2, 1.0]]])
        >>> map_similarity(cam, cam.sqrt()), map_similarity(cam, 1 - cam, "pearson")
        (tensor([1.]), tensor([-1.]))
    """
    return named_similarity("first", first, "second", second, kind)


def named_similarity(first_name: str, first: Tensor, second_name: str, second: Tensor, kind: Similarity) -> Tensor:
    """`map_similarity` of arguments that a message calls by these names."""
    check_kind(kind)
    maps = checked_tensor(first_name, first, "N, H, W")
    others = checked_tensor(second_name, second, "N, H, W")
    check_shape(second_name, others, first_name, maps)
    check_finite(first_name, maps)
    check_finite(second_name, others)
    a, b = (each.to(torch.promote_types(each.dtype, torch.float32)) for each in (maps, others))
    match kind:
        case "spearman":
            return _correlation(mean_ranks(a.flatten(1)), mean_ranks(b.flatten(1)))
        case "pearson":
            return _correlation(a.flatten(1).double(), b.flatten(1).double()).to(a)
        case "ssim":
            if min(a.shape[1:]) < 6:
                raise ValueError(f"`{first_name}`: expected sides of at least 6 pixels, got {tuple(a.shape[1:])}")
            return _structural(a, b)


def check_kind(kind: str) -> None:
    """Check that there is such a kind of similarity.

    Raises:
        ValueError: If there is none.
    """
    if kind not in get_args(Similarity):
        raise ValueError(f"`kind`: expected 'spearman', 'pearson' or 'ssim', got {kind!r}")


def mean_ranks(values: Tensor) -> Tensor:
    """The ranks of the values of each row, from 0, (N, M) float64; equal values share their mean rank.

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
