"""Images masked by their maps, and what metrics measure on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from camtrain.evaluation.need import ComparisonNeed, MapNeed, ProbabilityNeed

if TYPE_CHECKING:
    from camtrain.evaluation.measured import ExplainedBatch, Measured


def masked_images(images: Tensor, cams: Tensor) -> Tensor:
    """Each image times its map, x ⊙ m.

    The normalized image is masked, as the network gets it. A pixel where the map is 0 therefore has the mean color and
    is not black.

    Args:
        images: (N, C, H, W) images, normalized.
        cams: (N, H, W) maps in [0, 1].

    Returns:
        (N, C, H, W) images.

    Raises:
        ValueError: If the sizes differ, or a map leaves [0, 1].

    Source:
        Chattopadhyay et al., Grad-CAM++, WACV 2018, arXiv 1710.11063, section 4.1.

    Example:
        >>> masked_images(torch.ones(1, 3, 1, 2), torch.tensor([[[0.25, 1.0]]]))[0, 0]
        tensor([[0.2500, 1.0000]])
    """
    if images.shape[:1] + images.shape[2:] != cams.shape:
        raise ValueError(
            f"`cams`: expected a map for each of the images {tuple(images.shape)}, got {tuple(cams.shape)}"
        )
    if not bool(((cams >= -1e-6) & (cams <= 1 + 1e-6)).all()):
        raise ValueError("`cams`: expected values in [0, 1]; normalize the maps first (camtrain.cams.normalize)")
    return images * cams.unsqueeze(1).to(images)


def _compared(batch: ExplainedBatch, methods: Sequence[Measured | None]) -> Tensor:
    none = torch.full_like(batch.scores, torch.nan)
    return torch.stack(
        [
            none if each is None else each.further["masked_scores"].where(each.counted(["masked_scores"]), none)
            for each in methods
        ],
        dim=1,
    )


MASKED_SCORES = ProbabilityNeed(
    name="masked_scores",
    variants=lambda batch, measured: [masked_images(batch.images, measured.cams)],
    assembled=lambda measured, shared, own: own[0],
)
"""(N,) probability of the explained class on image ⊙ map."""

COMPARED_MASKED_SCORES = ComparisonNeed(name="compared_masked_scores", compared=_compared)
"""(N, M) masked scores of all M methods, NaN for an image without a map; needs `MASKED_SCORES` too."""

MASKED_CAMS = MapNeed(
    name="masked_cams",
    of="the masked image",
    question=lambda batch, measured: (masked_images(batch.images, measured.cams), batch.class_idx),
)
"""(N, H, W) normalized map of image ⊙ map, for the same class."""
