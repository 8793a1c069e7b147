"""The check that labels are what a cross-entropy takes."""

from __future__ import annotations

import torch
from torch import Tensor

from camtrain.gradients.checked_logits import checked_logits


def check_labels(logits: Tensor, labels: Tensor) -> None:
    """Check that labels are what a cross-entropy takes.

    Args:
        logits: (N, K).
        labels: (N,) class indices, or (N, K) probabilities.

    Raises:
        ValueError: If the shapes do not fit, labels have another type, or a class index is not in [0, K).
    """
    checked_logits(logits)
    if labels.shape not in (logits.shape, logits.shape[:1]):
        raise ValueError(
            f"`labels`: expected ({len(logits)},) class indices or {tuple(logits.shape)} probabilities, "
            f"got shape {tuple(labels.shape)}"
        )
    are_indices = labels.dim() == 1
    if labels.dtype != torch.int64 if are_indices else not labels.is_floating_point():
        raise ValueError(
            f"`labels`: expected int64 class indices or floating point probabilities, got {labels.dtype} of shape "
            f"{tuple(labels.shape)}"
        )
    # On an accelerator this check would stop the queue at every step. There the kernel's own assertion fails instead.
    if are_indices and labels.device.type == "cpu":
        outside = labels[(labels < 0) | (labels >= logits.shape[1])]
        if len(outside):
            raise ValueError(f"`labels`: expected classes from 0 to {logits.shape[1] - 1}, got {int(outside[0])}")
