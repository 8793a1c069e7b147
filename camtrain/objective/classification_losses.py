"""The classification losses by their names, and what else may be one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from camtrain.messages import checked_fraction, nearest_names
from camtrain.objective.binary_cross_entropy import BinaryCrossEntropy
from camtrain.objective.classification_loss import ClassificationLoss
from camtrain.objective.cross_entropy import CrossEntropy
from camtrain.objective.focal_loss import FocalLoss

LossName = Literal["cross_entropy", "binary_cross_entropy", "focal"]
"""`"cross_entropy"` and `"focal"`: the classes of an image compete. `"binary_cross_entropy"`: each is a question of its
own."""

LossFunction = Callable[[Tensor, Tensor], Tensor]
"""From logits (N, K) and labels to L_C, the mean over the images, 0-dim."""

CLASSIFICATION_LOSSES: dict[str, type[ClassificationLoss]] = {
    "cross_entropy": CrossEntropy,
    "binary_cross_entropy": BinaryCrossEntropy,
    "focal": FocalLoss,
}


def classification_loss_of(given: LossName | LossFunction, label_smoothing: float = 0.0) -> LossFunction:
    """The loss that a user means.

    Args:
        given: A name, a `ClassificationLoss`, or another function from (logits, labels) to the mean over the images.
        label_smoothing: The label smoothing of a loss that is given by its name.

    Raises:
        TypeError: If it is none of these, or a class in the place of an object.
        ValueError: If there is no loss of that name, or label smoothing is given with a loss that has none, or that
            has its own.

    Example:
        >>> classification_loss_of("cross_entropy", 0.1).label_smoothing
        0.1
    """
    smoothing = checked_fraction("label_smoothing", label_smoothing)
    if isinstance(given, str):
        if given not in CLASSIFICATION_LOSSES:
            near = nearest_names(given, list(CLASSIFICATION_LOSSES))
            raise ValueError(f"`classification_loss`: no loss is called {given!r}; {near}")
        if smoothing and given == "focal":
            raise ValueError(f"`label_smoothing`: expected 0 for the focal loss, which has none, got {smoothing}")
        loss = CLASSIFICATION_LOSSES[given]
        return loss(label_smoothing=smoothing) if smoothing else loss()
    if isinstance(given, type) or not callable(given):
        raise TypeError(
            "`classification_loss`: expected a name, a loss such as CrossEntropy(), or a function from (logits, "
            f"labels) to their mean loss, got {given!r}"
        )
    if smoothing:
        raise ValueError(
            f"`label_smoothing`: expected 0 beside a `classification_loss` that is not a name, got {smoothing}; give "
            "it to the loss itself"
        )
    return given


def called_in_precision_of(loss: LossFunction, logits: Tensor, labels: Tensor) -> Tensor:
    """The loss of logits and labels; a module's own parameters and buffers, such as weights, follow logits in float64.

    Args:
        loss: The loss.
        logits: (N, K).
        labels: (N,) or (N, K).

    Raises:
        TypeError: If the result is no tensor.
        ValueError: If it is not a mean, 0-dim.

    Example:
        >>> loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0]))
        >>> called_in_precision_of(loss, torch.zeros(1, 2, dtype=torch.float64), torch.tensor([1]))
        tensor(0.6931, dtype=torch.float64)
    """
    if isinstance(loss, nn.Module) and logits.dtype == torch.float64:
        own = dict(loss.named_parameters()) | dict(loss.named_buffers())
        double = {name: value.double() for name, value in own.items() if value.is_floating_point()}
        found = torch.func.functional_call(loss, double, (logits, labels)) if double else loss(logits, labels)
    else:
        found = loss(logits, labels)
    expected = "`classification_loss`: expected a function from (logits, labels) to their mean loss, 0-dim"
    if not isinstance(found, Tensor):
        raise TypeError(f"{expected}, got {found!r}")
    if found.dim() != 0:
        raise ValueError(f"{expected}, got shape {tuple(found.shape)}")
    return found
