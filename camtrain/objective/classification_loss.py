"""The base of the classification losses."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from camtrain.objective.class_weights import ClassWeights


class ClassificationLoss(nn.Module, ABC):
    """L_C as the mean over the images of a loss to which each image adds what depends on its own logits alone.

    A subclass implements `of_images`. Any other function from logits and labels to such a mean can be a classification
    loss as well; one of this class also gives the loss of each image at once, which some regularizers need.

    Attributes:
        independent_classes: Whether each class is a question of its own, so that an image may show several classes, or
            none. Labels (N, K) are then 1 for the classes that an image shows and 0 for the others; otherwise they are
            probabilities that sum to 1.
    """

    independent_classes: bool = False

    @abstractmethod
    def of_images(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of each image, (N,), in the precision of the logits.

        Args:
            logits: (N, K).
            labels: (N,) class indices, or (N, K).

        Raises:
            ValueError: If the labels do not fit.
        """

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean over the images, 0-dim."""
        return self.of_images(logits, labels).mean()

    @property
    def needs_class_frequencies(self) -> bool:
        """Whether weights are balanced and wait for `set_class_frequencies`."""
        return any(weights.needs_frequencies for weights in self._weights())

    def set_class_frequencies(self, frequencies: Tensor) -> None:
        """Compute balanced weights. `Classifier` calls this with the frequencies of the data module.

        Args:
            frequencies: (K,), the fraction of the training images that show each class. Of a network of a single logit,
                one number: the fraction of the images that are of class 1.

        Raises:
            ValueError: If no training image shows one of the classes.

        Example:
            >>> import torch
            >>> from camtrain.objective import CrossEntropy
            >>> loss = CrossEntropy(class_weights="balanced")
            >>> loss.set_class_frequencies(torch.tensor([0.75, 0.25]))
            >>> loss.class_weights.values.tolist()
            [0.666..., 2.0]
        """
        for weights in self._weights():
            weights.set_frequencies(frequencies)

    def _weights(self) -> list[ClassWeights]:
        return [module for module in self.modules() if isinstance(module, ClassWeights)]


def targets_of(logits: Tensor, labels: Tensor) -> Tensor:
    """1 for the classes that an image shows and 0 for the others, (N, K), from labels of either form.

    The labels of a single logit are 0 and 1: no and yes.

    Args:
        logits: (N, K).
        labels: (N,) class indices, or (N, K) numbers in [0, 1].

    Example:
        >>> import torch
        >>> targets_of(torch.zeros(2, 3), torch.tensor([2, 0]))
        tensor([[0., 0., 1.],
                [1., 0., 0.]])
        >>> targets_of(torch.zeros(2, 1), torch.tensor([1, 0])).flatten()
        tensor([1., 0.])
    """
    if labels.dim() == 2:
        return labels.to(logits.dtype)
    if logits.shape[1] == 1:
        return labels.to(logits.dtype).unsqueeze(1)
    return nn.functional.one_hot(labels, logits.shape[1]).to(logits.dtype)


def smoothed(targets: Tensor, label_smoothing: float) -> Tensor:
    """(1 − ε) t + ε / K, with K = 2 for a single logit.

    Args:
        targets: t, (N, K).
        label_smoothing: ε, in [0, 1].

    Example:
        >>> import torch
        >>> smoothed(torch.tensor([[1.0, 0.0]]), 0.1)
        tensor([[0.9500, 0.0500]])
    """
    return (1 - label_smoothing) * targets + label_smoothing / max(2, targets.shape[1])
