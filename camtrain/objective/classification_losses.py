"""What L_C can be: cross-entropy, or binary cross-entropy of each class for itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from camtrain.objective.check_labels import check_labels

LossName = Literal["cross_entropy", "binary_cross_entropy"]
"""`"cross_entropy"`: the classes of an image compete. `"binary_cross_entropy"`: each class is a question of its own."""


def cross_entropy(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """The mean over the images of −Σ_k t_k log softmax(z)_k, 0-dim.

    Args:
        logits: z, (N, K).
        labels: (N,) class indices, or (N, K) probabilities t.
        label_smoothing: ε, in [0, 1]; t becomes (1 − ε) t + ε / K.

    Raises:
        ValueError: If the shapes do not fit, or a label is not in [0, K).

    Example:
        >>> import torch
        >>> cross_entropy(torch.zeros(1, 2), torch.tensor([1]))
        tensor(0.6931)
    """
    check_labels(logits, labels)
    return F.cross_entropy(logits, labels, label_smoothing=label_smoothing)


def binary_cross_entropy(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """The mean over the images of −Σ_k [t_k log σ(z_k) + (1 − t_k) log(1 − σ(z_k))], 0-dim.

    Cross-entropy sees only differences of logits, so it can raise the label's logit by lowering all others, with
    evidence that says nothing about the label. Here each logit is right or wrong by itself. "How to Probe" reports that
    a linear head trained so has maps that are more specific to their class, on the same frozen backbone.

    The loss is a sum over the classes. Its derivative with respect to a logit is σ(z_k) − t_k, of the same form as that
    of the cross-entropy, softmax(z)_k − t_k. It begins higher: at z = 0 it is K log 2, where the cross-entropy is
    log K, and the norm of its derivative is √K / 2, where that of the cross-entropy is below 1. With many classes,
    lower the learning rate and choose λ again.

    Departures: the official code takes the mean over the classes, a K-th of this loss, and trains the head with Adam,
    or with SGD at a learning rate of 30 without weight decay. Divide such a learning rate by K. For images with one
    label it also sets the targets of the other classes to 1/K instead of 0; pass (N, K) labels to do the same.

    Args:
        logits: z, (N, K).
        labels: (N,) class indices, or (N, K) numbers t in [0, 1], which need not sum to one.
        label_smoothing: ε, in [0, 1]; t becomes (1 − ε) t + ε / K.

    Raises:
        ValueError: If the shapes do not fit, or a label is not in [0, K).

    Source:
        Gairola et al., How to Probe: Simple Yet Effective Techniques for Improving Post-hoc Explanations, ICLR 2025,
        arXiv 2503.00641; github.com/sidgairo18/how-to-probe.

    Example:
        >>> import torch
        >>> binary_cross_entropy(torch.zeros(1, 2), torch.tensor([1]))
        tensor(1.3863)
    """
    check_labels(logits, labels)
    num_classes = logits.shape[1]
    targets = F.one_hot(labels, num_classes) if labels.dim() == 1 else labels
    targets = (1 - label_smoothing) * targets.to(logits.dtype) + label_smoothing / num_classes
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="sum") / len(logits)


CLASSIFICATION_LOSSES: dict[LossName, Callable[[Tensor, Tensor, float], Tensor]] = {
    "cross_entropy": cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
}
