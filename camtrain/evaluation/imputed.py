"""Images with pixels removed and imputed from their neighbors: ROAD's noisy linear imputation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import torch
from scipy.linalg import solveh_banded  # type: ignore[import-untyped, unused-ignore]
from scipy.sparse import csr_matrix, diags, identity, kron  # type: ignore[import-untyped, unused-ignore]
from scipy.sparse.linalg import splu  # type: ignore[import-untyped, unused-ignore]
from torch import Tensor

from camtrain.evaluation.need import ProbabilityNeed

_DIRECT, _DIAGONAL = 1 / 6, 1 / 12
# Pixels row by row have neighbors at most a row and one pixel apart: a band, which for images of usual width is
# factorized faster than a sparse matrix. The memory of a band grows with the cube of the size.
_WIDEST_BAND = 256


def imputed(images: Tensor, removed: Tensor, noise: float = 0.01, seed: int = 0) -> Tensor:
    """Images whose removed pixels are replaced by the weighted mean of their neighbors plus a little noise.

        x_i = Σ_j w_ij x_j / Σ_j w_ij + ε,    w = 1/6 for direct neighbors, 1/12 for diagonal ones

    Neighbors may be removed too. A linear system per image gives all removed pixels at once. Unlike a constant
    color, imputed pixels hardly reveal which pixels were removed.

    Args:
        images: (N, C, H, W) images.
        removed: (N, H, W) bool, true at the removed pixels. Each image must keep at least one pixel.
        noise: The standard deviation of ε, in the units of `images`. The authors' code imputes images in [0, 1] before
            they are normalized. This function and pytorch-grad-cam impute normalized images, on which the same number
            means about a fourth of the noise, with the statistics of ImageNet.
        seed: The seed of ε. All images get the same ε, so that the result of one does not depend on the batch.

    Returns:
        (N, C, H, W) images.

    Raises:
        ValueError: If an image has no pixel left, or the sizes differ.

    Cost:
        One factorization per image on the CPU, which takes up to a second for all pixels of 224 × 224.

    Source:
        Rong et al., A Consistent and Efficient Evaluation Strategy for Attribution Methods, ICML 2022, arXiv
        2202.00449, section 4.2 and appendix; the weights are those of the authors' code.

    Example:
        >>> image = torch.tensor([0.0, 9.0, 3.0]).expand(1, 3, 1, 3)
        >>> imputed(image, torch.tensor([[[False, True, False]]]), noise=0.0)[0, 0]
        tensor([[0.0000, 1.5000, 3.0000]])
    """
    if images.shape[:1] + images.shape[2:] != removed.shape or removed.dtype != torch.bool:
        raise ValueError(
            f"`removed`: expected bool for each of the images {tuple(images.shape)}, got {removed.dtype} "
            f"{tuple(removed.shape)}"
        )
    if bool(removed.flatten(1).all(dim=1).any()):
        raise ValueError("`removed`: expected at least one pixel of each image to be left, got none")
    generator = torch.Generator().manual_seed(seed)
    epsilon = noise * torch.randn(images.shape[1:], generator=generator)
    filled = [_filled(image, where, epsilon) for image, where in zip(images, removed, strict=True)]
    return torch.stack(filled) if filled else images.clone()


def removed_and_imputed(images: Tensor, ranks: Tensor, shares: Sequence[float], seed: int = 0) -> Iterator[Tensor]:
    """Images without a fraction of their pixels: first without the most relevant pixels, then without the least.

    Departure: the authors' code breaks ties of a map at random. `removal_ranks` breaks them row by row, so that among
    pixels of equal relevance the lower ones in the image count as less relevant.

    Args:
        images: (N, C, H, W) images.
        ranks: (N, H, W) places of the pixels, from `removal_ranks`.
        shares: The P fractions of the pixels to remove, between 0 and 1.
        seed: The seed of the noise.

    Yields:
        (N, C, H, W) images, P times without the most relevant pixels, then P times without the least relevant ones.
    """
    pixels = ranks.shape[1:].numel()
    for share in shares:
        yield imputed(images, ranks < round(share * pixels), seed=seed)
    for share in shares:
        yield imputed(images, ranks >= pixels - round(share * pixels), seed=seed)


def _filled(image: Tensor, removed: Tensor, epsilon: Tensor) -> Tensor:
    if not bool(removed.any()):
        return image
    values = image.detach().double().cpu().flatten(1).numpy()
    found = torch.from_numpy(_solution(values, removed.cpu().numpy())).T
    filled = image.clone()
    filled[:, removed] = found.to(image) + epsilon.to(image)[:, removed]
    return filled


def _solution(values: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """The values of the M removed pixels, (M, channels), from the values of all pixels, (channels, H·W)."""
    unknown = removed.ravel()
    equations = _equations(*removed.shape)[unknown]
    right = -(equations[:, ~unknown] @ values[:, ~unknown].T)
    matrix = equations[:, unknown]
    return _solved_as_band(matrix, right) if removed.shape[1] <= _WIDEST_BAND else _solved_as_sparse(matrix, right)


@lru_cache(maxsize=8)
def _equations(height: int, width: int) -> csr_matrix:
    """Σ_j w_ij (x_i − x_j) for every pixel i, (H·W, H·W)."""
    along, across = (_neighbors_in_a_row(size) for size in (height, width))
    direct = kron(along, identity(width)) + kron(identity(height), across)
    weights = _DIRECT * direct + _DIAGONAL * kron(along, across)
    return csr_matrix(diags(np.asarray(weights.sum(axis=1)).ravel()) - weights)


def _neighbors_in_a_row(size: int) -> csr_matrix:
    """1 where two of `size` pixels in a row are neighbors."""
    return csr_matrix(diags([np.ones(size - 1)] * 2, [-1, 1], shape=(size, size)))


# The matrix is symmetric and diagonally dominant, so that neither needs pivoting.
def _solved_as_band(matrix: csr_matrix, right: np.ndarray) -> np.ndarray:
    entries = matrix.tocoo()
    lower = entries.row >= entries.col
    rows, columns = entries.row[lower], entries.col[lower]
    band = np.zeros(((rows - columns).max() + 1, matrix.shape[0]), order="F")
    band[rows - columns, columns] = entries.data[lower]
    solution: np.ndarray = solveh_banded(band, right, lower=True, overwrite_ab=True, check_finite=False)
    return solution


def _solved_as_sparse(matrix: csr_matrix, right: np.ndarray) -> np.ndarray:
    options = {"SymmetricMode": True}
    factors = splu(matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options)
    solution: np.ndarray = factors.solve(right)
    return solution


REMOVAL_CURVES = ProbabilityNeed(
    name="removal_curves",
    variants=lambda batch, measured: removed_and_imputed(
        batch.images, measured.ranks, batch.settings.removed_shares, batch.settings.seed
    ),
    assembled=lambda measured, shared, own: torch.stack([*own], dim=1).view(len(measured.cams), 2, -1),
)
"""(N, 2, P) probabilities of the explained class with the most relevant and with the least relevant pixels removed."""
