"""Binary cross-entropy: each class is a question of its own."""

from __future__ import annotations

from typing import Literal, get_args

import torch.nn.functional as F
from torch import Tensor

from camtrain.messages import checked_fraction
from camtrain.objective.check_labels import check_labels
from camtrain.objective.class_weights import ClassNumbers, ClassWeights
from camtrain.objective.classification_loss import ClassificationLoss, smoothed, targets_of

OverClasses = Literal["sum", "mean"]
"""How the losses of the classes of an image become one number."""


class BinaryCrossEntropy(ClassificationLoss):
    """The mean over the images of −Σ_k [w_k t_k log σ(z_k) + (1 − t_k) log(1 − σ(z_k))].

    Images may show several classes, or none: their labels are (N, K), 1 for the classes that an image shows and 0 for
    the others. Images with one label may have class indices (N,). The labels of a network of a single logit are 0 and
    1, (N,) or (N, 1).

    Cross-entropy sees only differences of logits, so it can raise the label's logit by lowering all others, with
    evidence that says nothing about the label. Here each logit is right or wrong by itself. "How to Probe" reports that
    a linear head trained so has maps that are more specific to their class, on the same frozen backbone.

    By default, the loss is a sum over the classes. Its derivative with respect to a logit is σ(z_k) − t_k, of the same
    form as that of the cross-entropy, softmax(z)_k − t_k. It begins higher: at z = 0 it is K log 2, where the
    cross-entropy is log K, and the norm of its derivative is √K / 2, where that of the cross-entropy is below 1. With
    many classes, lower the learning rate and choose λ again, or take the mean over the classes, as PyTorch does.

    Departures: the official code takes the mean over the classes, a K-th of this loss, and trains the head with Adam,
    or with SGD at a learning rate of 30 without weight decay. Divide such a learning rate by K. For images with one
    label it also sets the targets of the other classes to 1/K instead of 0; pass (N, K) labels to do the same.

    Args:
        positive_weights: w, one number for each class, in the order of their indices; `balanced`: (1 − f_k) / f_k, with
            f_k the fraction of the training images that show class k, so that the images with a class and those without
            count alike; null: 1.
        label_smoothing: ε, in [0, 1]; t becomes (1 − ε) t + ε / K.
        over_classes: Whether the losses of the classes of an image are added up (`sum`) or averaged (`mean`).

    Raises:
        TypeError: If an argument has another type.
        ValueError: If an argument is out of its range. When called: if the shapes do not fit, a label is not in [0, K),
            or a number of labels (N, K) is not in [0, 1].

    Source:
        Gairola et al., How to Probe: Simple Yet Effective Techniques for Improving Post-hoc Explanations, ICLR 2025,
        arXiv 2503.00641; github.com/sidgairo18/how-to-probe.

    Example:
        >>> import torch
        >>> BinaryCrossEntropy()(torch.zeros(1, 2), torch.tensor([1]))
        tensor(1.3863)
        >>> BinaryCrossEntropy(over_classes="mean")(torch.zeros(1, 2), torch.tensor([[1.0, 1.0]]))
        tensor(0.6931)
    """

    independent_classes = True

    def __init__(
        self,
        positive_weights: ClassNumbers = None,
        label_smoothing: float = 0.0,
        over_classes: OverClasses = "sum",
    ) -> None:
        super().__init__()
        self.positive_weights = ClassWeights("positive_weights", positive_weights, balanced_positive_weights)
        self.label_smoothing = checked_fraction("label_smoothing", label_smoothing)
        self.over_classes = checked_over_classes(over_classes)

    def of_images(self, logits: Tensor, labels: Tensor) -> Tensor:
        """See `ClassificationLoss`."""
        losses = self._loss(logits, labels, "none").sum(dim=1)
        return losses / logits.shape[1] if self.over_classes == "mean" else losses

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean over the images, 0-dim."""
        num_images, num_classes = logits.shape
        terms = num_images * num_classes if self.over_classes == "mean" else num_images
        return self._loss(logits, labels, "sum") / terms

    def _loss(self, logits: Tensor, labels: Tensor, reduction: str) -> Tensor:
        check_labels(logits, labels, independent=True)
        targets = smoothed(targets_of(logits, labels), self.label_smoothing)
        weights = self.positive_weights.of(logits)
        return F.binary_cross_entropy_with_logits(logits, targets, pos_weight=weights, reduction=reduction)

    def extra_repr(self) -> str:
        """Settings, for printing."""
        return f"label_smoothing={self.label_smoothing}, over_classes={self.over_classes!r}"


def checked_over_classes(over_classes: OverClasses) -> OverClasses:
    """The argument of that name.

    Raises:
        ValueError: If it is neither sum nor mean.
    """
    if over_classes not in get_args(OverClasses):
        raise ValueError(f"`over_classes`: expected sum or mean, got {over_classes!r}")
    return over_classes


def balanced_positive_weights(frequencies: Tensor) -> Tensor:
    """The weights with which images that show a class and images that do not count alike, (1 − f_k) / f_k.

    Args:
        frequencies: f, (K,).

    Example:
        >>> import torch
        >>> balanced_positive_weights(torch.tensor([0.5, 0.25]))
        tensor([1., 3.])
    """
    return (1 - frequencies) / frequencies
