"""Maps of a class that the image does not show."""

from __future__ import annotations

import torch
from torch import Tensor

from camtrain.evaluation.need import MapNeed


def least_probable_other_class(probabilities: Tensor, class_idx: Tensor) -> Tensor:
    """The least probable class of each image other than the explained one.

    The explained class itself may be the least probable of all, if it is the label.

    Args:
        probabilities: (N, K).
        class_idx: (N,) explained classes.

    Returns:
        (N,) class indices.

    Example:
        >>> least_probable_other_class(torch.tensor([[0.5, 0.2, 0.3], [0.5, 0.2, 0.3]]), torch.tensor([0, 1]))
        tensor([1, 2])
    """
    return probabilities.scatter(1, class_idx.unsqueeze(1), torch.inf).argmin(dim=1)


OTHER_CAMS = MapNeed(
    name="other_cams",
    of="another class",
    question=lambda batch, measured: (
        batch.images,
        least_probable_other_class(batch.probabilities, batch.class_idx),
    ),
)
"""(N, H, W) normalized map for the least probable other class."""
