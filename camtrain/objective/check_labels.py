"""The check that labels are what a classification loss takes."""

from __future__ import annotations

import torch
from torch import Tensor

from camtrain.checked_logits import checked_logits

_ROUNDING = 0.01  # of the sum of a row of probabilities, as they are in half precision


def check_labels(logits: Tensor, labels: Tensor, *, independent: bool = False) -> None:
    """Check that labels are what a classification loss takes.

    Args:
        logits: (N, K).
        labels: (N,) class indices, or (N, K).
        independent: Whether labels (N, K) say of each class by itself whether an image shows it; otherwise they are
            probabilities.

    Raises:
        ValueError: If the shapes do not fit, labels have another type, a class index is not in [0, K) (of a single
            logit, 0 or 1), probabilities do not sum to 1 in each row, a number of independent labels is not in [0, 1],
            or the classes of a single logit are to compete.
    """
    checked_logits(logits)
    num_logits = logits.shape[1]
    if num_logits == 1 and not independent:
        raise ValueError(
            "`classification_loss`: expected binary_cross_entropy for a network of a single logit, whose softmax is "
            "always 1, got one in which classes compete; or give the network two logits"
        )
    if labels.shape not in (logits.shape, logits.shape[:1]):
        raise ValueError(
            f"`labels`: expected ({len(logits)},) class indices or {tuple(logits.shape)} "
            f"{'numbers in [0, 1]' if independent else 'probabilities'}, got shape {tuple(labels.shape)}"
        )
    are_indices = labels.dim() == 1
    if labels.dtype != torch.int64 if are_indices else not labels.is_floating_point():
        kind = "numbers in [0, 1]" if independent else "probabilities"
        raise ValueError(
            f"`labels`: expected int64 class indices or floating point {kind}, got {labels.dtype} of shape "
            f"{tuple(labels.shape)}"
        )
    if are_indices:
        _check_indices(labels, num_logits)
    elif independent:
        _check_fractions(labels)
    else:
        _check_probabilities(labels)


def _check_indices(labels: Tensor, num_logits: int) -> None:
    # On an accelerator this check would stop the queue at every step. There the kernel's own assertion fails instead,
    # but for a single logit, of which no kernel knows what the labels are.
    if labels.device.type == "cpu" or num_logits == 1:
        num_classes = max(2, num_logits)
        outside = labels[(labels < 0) | (labels >= num_classes)]
        if len(outside):
            raise ValueError(f"`labels`: expected classes from 0 to {num_classes - 1}, got {int(outside[0])}")


def _check_fractions(labels: Tensor) -> None:
    bad = labels[~((labels >= 0) & (labels <= 1))]
    if len(bad):
        raise ValueError(f"`labels`: expected numbers in [0, 1], 1 for a class that is shown, got {float(bad[0]):g}")


def _check_probabilities(labels: Tensor) -> None:
    """No kernel would notice these, so that they are checked on an accelerator, too."""
    totals = labels.sum(dim=1)
    bad = ~((totals - 1).abs() <= _ROUNDING) | (labels < 0).any(dim=1)
    if bool(bad.any()):
        row = int(bad.nonzero()[0])
        raise ValueError(
            f"`labels`: expected probabilities that sum to 1 for each image, got a sum of {float(totals[row]):g} for "
            f"image {row} of the batch; images that show several classes, or none, need `classification_loss` "
            "binary_cross_entropy"
        )
