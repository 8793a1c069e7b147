"""Cross-entropy: the classes of an image compete."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from camtrain.messages import checked_fraction
from camtrain.objective.check_labels import check_labels
from camtrain.objective.class_weights import ClassNumbers, ClassWeights
from camtrain.objective.classification_loss import ClassificationLoss


class CrossEntropy(ClassificationLoss):
    """The mean over the images of −Σ_k w_k t_k log softmax(z)_k.

    With weights, the sum over the images is divided by their number, where PyTorch divides by the sum of their weights:
    there, the gradient at an image would depend on which other images are in its batch. With balanced weights, the two
    agree on the mean over all training images.

    Args:
        class_weights: w, one number for each class, in the order of their indices; `balanced`: 1 / (K f_k), with f_k
            the fraction of the training images that are of class k, so that all classes count alike; null: 1.
        label_smoothing: ε, in [0, 1]; t becomes (1 − ε) t + ε / K.

    Raises:
        TypeError: If an argument has another type.
        ValueError: If a number is out of its range. When called: if shapes do not fit, a label is not in [0, K), labels
            (N, K) are not probabilities that sum to 1 in each row, or the network has a single logit, whose
            cross-entropy is always 0.

    Example:
        >>> CrossEntropy()(torch.zeros(1, 2), torch.tensor([1]))
        tensor(0.6931)
        >>> CrossEntropy(class_weights=[1, 3])(torch.zeros(2, 2), torch.tensor([0, 1]))
        tensor(1.3863)
    """

    def __init__(self, class_weights: ClassNumbers = None, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.class_weights = ClassWeights("class_weights", class_weights, balanced_weights)
        self.label_smoothing = checked_fraction("label_smoothing", label_smoothing)

    def of_images(self, logits: Tensor, labels: Tensor) -> Tensor:
        """See `ClassificationLoss`."""
        return self._loss(logits, labels, "none")

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean over the images, 0-dim."""
        if self.class_weights.given is None:
            return self._loss(logits, labels, "mean")  # PyTorch's own mean, bit for bit
        return self.of_images(logits, labels).mean()

    def _loss(self, logits: Tensor, labels: Tensor, reduction: str) -> Tensor:
        check_labels(logits, labels)
        return F.cross_entropy(
            logits,
            labels,
            self.class_weights.of(logits),
            # No label: PyTorch's own, -100, would be left out silently where labels are not checked beforehand.
            ignore_index=torch.iinfo(torch.int64).min,
            reduction=reduction,
            label_smoothing=self.label_smoothing,
        )

    def extra_repr(self) -> str:
        """Settings, for printing."""
        return f"label_smoothing={self.label_smoothing}"


def balanced_weights(frequencies: Tensor) -> Tensor:
    """The weights with which all classes count alike, 1 / (K f_k); their mean over the training images is 1.

    Args:
        frequencies: f, (K,).

    Example:
        >>> balanced_weights(torch.tensor([0.75, 0.25]))
        tensor([0.6667, 2.0000])
    """
    return 1 / (len(frequencies) * frequencies)
